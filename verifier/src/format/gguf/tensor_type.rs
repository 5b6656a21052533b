//! The encodings a GGUF tensor can have.
//!
//! Inspection has to size tensors of every type that files in the wild carry, also those
//! no engine here can run, so the table is complete and says nothing about loadability.

/// Defines the enum and its lookups from one table, so that a row cannot be forgotten in one of them.
macro_rules! tensor_types {
    ($($variant:ident = $id:literal, $block:literal, $size:literal;)+) => {
        /// Encoding of a tensor's elements, named and numbered as in ggml's `enum ggml_type`.
        #[expect(non_camel_case_types, reason = "ggml's own spelling, which reports and pages show")]
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum TensorType { $($variant,)+ }

        impl TensorType {
            /// Every type that is alive in ggml; retired ids (4, 5, 31 to 33, 36 to 38) are absent.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The type with this id in a file, or `None` for retired and unknown ids.
            pub const fn from_id(id: u32) -> Option<Self> {
                match id { $($id => Some(Self::$variant),)+ _ => None }
            }

            /// The id in a file.
            pub const fn id(self) -> u32 {
                match self { $(Self::$variant => $id,)+ }
            }

            /// The name without ggml's prefix, such as `Q4_K`.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => stringify!($variant),)+ }
            }

            /// Elements per block; a row is a whole number of blocks.
            pub const fn block_size(self) -> u64 {
                match self { $(Self::$variant => $block,)+ }
            }

            /// Bytes per block.
            pub const fn type_size(self) -> u64 {
                match self { $(Self::$variant => $size,)+ }
            }
        }
    };
}

// id, elements per block, bytes per block: the block structs of ggml-common.h.
tensor_types! {
    F32 = 0, 1, 4;
    F16 = 1, 1, 2;
    Q4_0 = 2, 32, 18;
    Q4_1 = 3, 32, 20;
    Q5_0 = 6, 32, 22;
    Q5_1 = 7, 32, 24;
    Q8_0 = 8, 32, 34;
    Q8_1 = 9, 32, 36;
    Q2_K = 10, 256, 84;
    Q3_K = 11, 256, 110;
    Q4_K = 12, 256, 144;
    Q5_K = 13, 256, 176;
    Q6_K = 14, 256, 210;
    Q8_K = 15, 256, 292;
    IQ2_XXS = 16, 256, 66;
    IQ2_XS = 17, 256, 74;
    IQ3_XXS = 18, 256, 98;
    IQ1_S = 19, 256, 50;
    IQ4_NL = 20, 32, 18;
    IQ3_S = 21, 256, 110;
    IQ2_S = 22, 256, 82;
    IQ4_XS = 23, 256, 136;
    I8 = 24, 1, 1;
    I16 = 25, 1, 2;
    I32 = 26, 1, 4;
    I64 = 27, 1, 8;
    F64 = 28, 1, 8;
    IQ1_M = 29, 256, 56;
    BF16 = 30, 1, 2;
    TQ1_0 = 34, 256, 54;
    TQ2_0 = 35, 256, 66;
    MXFP4 = 39, 32, 17;
    NVFP4 = 40, 64, 36;
    Q1_0 = 41, 128, 18;
    Q2_0 = 42, 64, 18;
}

#[cfg(test)]
mod tests {
    use super::TensorType;

    #[test]
    fn all_35_live_types_are_found_by_their_own_id() {
        assert_eq!(TensorType::ALL.len(), 35);
        for tensor_type in TensorType::ALL {
            assert_eq!(TensorType::from_id(tensor_type.id()), Some(*tensor_type));
        }
    }

    #[test]
    fn retired_ids_are_unknown() {
        for id in [4, 5, 31, 32, 33, 36, 37, 38, 43, 99] {
            assert_eq!(TensorType::from_id(id), None, "{id}");
        }
    }

    #[test]
    fn names_are_those_of_ggml() {
        assert_eq!(TensorType::Q4_K.name(), "Q4_K");
        assert_eq!(TensorType::IQ2_XXS.name(), "IQ2_XXS");
    }
}
