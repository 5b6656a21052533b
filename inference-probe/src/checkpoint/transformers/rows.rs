//! The order in which GGUF has the rows of a matrix.

/// How rows move from a Transformers folder to GGUF.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::checkpoint) enum Order {
    Same,
    /// Each head's halves become pairs of neighbors, because rotation turns neighbors there.
    PairedHalves {
        heads: u64,
    },
    /// Query, key and value of one head after the other become all queries, all keys, all values.
    Ungrouped {
        heads: u64,
    },
}

impl Order {
    /// Runs of source rows, as first row and count, in their new order.
    pub(in crate::checkpoint) fn runs(self, rows: u64) -> Result<Vec<(u64, u64)>, String> {
        match self {
            Self::Same => Ok(vec![(0, rows)]),
            Self::PairedHalves { heads } => {
                let length = head_length(rows, heads, 2)?;
                let half = length / 2;
                let row = move |(head, index): (u64, u64)| (head * length + index % 2 * half + index / 2, 1);
                Ok((0..heads).flat_map(|head| (0..length).map(move |index| (head, index))).map(row).collect())
            }
            Self::Ungrouped { heads } => {
                let length = head_length(rows, heads, 3)?;
                let third = length / 3;
                let run = move |(part, head): (u64, u64)| (head * length + part * third, third);
                Ok((0..3).flat_map(|part| (0..heads).map(move |head| (part, head))).map(run).collect())
            }
        }
    }
}

/// Most rows that are moved one by one; no real model has a matrix of more queries.
const MAX_ROWS: u64 = 1 << 20;

/// Rows of one head, which have to be a multiple of `parts`.
fn head_length(rows: u64, heads: u64, parts: u64) -> Result<u64, String> {
    match heads.checked_mul(parts) {
        Some(least @ 1..) if rows <= MAX_ROWS && rows.is_multiple_of(least) => Ok(rows / heads),
        _ => Err(format!("has {rows} rows, which are not those of {heads} heads")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_of_each_head_become_neighbors() {
        let runs = Order::PairedHalves { heads: 2 }.runs(8).unwrap();
        let rows: Vec<u64> = runs.iter().map(|(start, _)| *start).collect();
        assert_eq!(rows, [0, 2, 1, 3, 4, 6, 5, 7]);
    }

    #[test]
    fn grouped_heads_become_queries_then_keys_then_values() {
        let runs = Order::Ungrouped { heads: 2 }.runs(12).unwrap();
        assert_eq!(runs, [(0, 2), (6, 2), (2, 2), (8, 2), (4, 2), (10, 2)]);
    }

    #[test]
    fn rows_that_are_no_heads_are_refused() {
        assert!(Order::PairedHalves { heads: 3 }.runs(8).is_err());
        assert!(Order::Ungrouped { heads: 0 }.runs(12).is_err());
        assert!(Order::PairedHalves { heads: u64::MAX }.runs(12).is_err());
        assert!(Order::PairedHalves { heads: 1 }.runs(500_000_000).is_err());
    }
}
