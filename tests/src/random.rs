//! A tiny reproducible number source, so that generated files never depend on a crate's
//! release.

/// The `SplitMix64` generator (Steele, Lea, Flood 2014). Not for secrets.
#[derive(Debug, Clone)]
pub struct Random {
    state: u64,
}

impl Random {
    pub const fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    pub const fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number in `0..limit`; 0 when `limit` is 0.
    pub const fn below(&mut self, limit: u64) -> u64 {
        if limit == 0 { 0 } else { self.next_u64() % limit }
    }

    /// A number in `-scale..scale`.
    pub fn weight(&mut self, scale: f32) -> f32 {
        // 24 bits: exactly what the mantissa of an f32 holds.
        #[expect(clippy::cast_precision_loss, reason = "24 bits fit the mantissa")]
        let unit = (self.next_u64() >> 40) as f32 / (1_u32 << 24) as f32;
        (unit * 2.0 - 1.0) * scale
    }

    pub fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.next_u64().to_le_bytes()[0]).collect()
    }
}
