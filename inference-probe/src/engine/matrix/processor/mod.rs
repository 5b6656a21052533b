//! The instruction sets of processors, chosen at run time: a distributed program is compiled for
//! the oldest one.
//!
//! The only module of the engine with `unsafe` code: it calls functions that are compiled for
//! instructions that a processor may lack, and it loads vectors.

#![cfg_attr(target_arch = "x86_64", expect(unsafe_code, reason = "instruction sets are known at run time only"))]

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "x86_64")]
mod strip;
#[cfg(target_arch = "x86_64")]
mod tile;

use super::encoding::Encoding;
use super::numbers::Element;
use super::product::{self, Panel, Rounded, RoundedRun, Rows};

/// The instructions that this machine was seen to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Processor {
    /// Private, so that only what was detected is ever called.
    instructions: Instructions,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Instructions {
    /// x86 servers since 2019 and some other processors: 512-bit vectors with dot products of bytes.
    #[cfg(target_arch = "x86_64")]
    Avx512Vnni,
    /// x86 processors since 2013.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    Any,
}

impl Processor {
    /// The best instructions of this machine.
    pub(super) fn detect() -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            let has_avx2 =
                is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && is_x86_feature_detected!("f16c");
            let has_avx512 = is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512vl");
            if has_avx2 && has_avx512 && is_x86_feature_detected!("avx512vnni") {
                return Self { instructions: Instructions::Avx512Vnni };
            }
            if has_avx2 {
                return Self { instructions: Instructions::Avx2 };
            }
        }
        Self { instructions: Instructions::Any }
    }

    /// Every choice that this machine can compute with, the best first.
    #[cfg(test)]
    pub(super) fn all() -> Vec<Self> {
        #[cfg(target_arch = "x86_64")]
        let order = [Instructions::Avx512Vnni, Instructions::Avx2, Instructions::Any];
        #[cfg(not(target_arch = "x86_64"))]
        let order = [Instructions::Any];
        let best = order.iter().position(|instructions| *instructions == Self::detect().instructions);
        order[best.unwrap_or(0)..].iter().map(|instructions| Self { instructions: *instructions }).collect()
    }
}

/// Calls one of three functions of the same name.
macro_rules! call {
    ($processor:expr, $function:ident $(::<$parameter:ident>)? ($($argument:expr),*)) => {
        match $processor.instructions {
            // SAFETY: `Processor::detect` has seen that this machine has the instructions that the function is compiled for.
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx512Vnni => unsafe { avx512::$function $(::<$parameter>)? ($($argument),*) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx2 => unsafe { avx2::$function $(::<$parameter>)? ($($argument),*) },
            Instructions::Any => product::$function $(::<$parameter>)? ($($argument),*),
        }
    };
}

/// Rounds whole runs of an input.
pub(super) fn round(processor: Processor, values: &[f32], runs: &mut [RoundedRun]) {
    call!(processor, round(values, runs));
}

pub(super) fn multiply_blocks<E: Encoding>(processor: Processor, panel: &mut Panel<'_>, input: &Rounded) {
    call!(processor, multiply_blocks::<E>(panel, input));
}

pub(super) fn multiply_elements<E: Element>(processor: Processor, panel: &mut Panel<'_>, input: &Rows<'_>) {
    call!(processor, multiply_elements::<E>(panel, input));
}

/// The instruction for half-precision numbers does not slow down for subnormal ones.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "f16c")]
#[inline]
fn read_half(bits: u16) -> f32 {
    use std::arch::x86_64::{_mm_cvtph_ps, _mm_cvtsi32_si128, _mm_cvtss_f32};
    _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(i32::from(bits))))
}

/// Eight of them.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx,f16c")]
#[inline]
fn read_halves(bits: [u16; 8]) -> [f32; 8] {
    vector::to_floats(std::arch::x86_64::_mm256_cvtph_ps(vector::of_short_words(bits)))
}

/// Vectors from arrays of the same size, and back: by value, because loads and stores by address are
/// checked in builds with debug assertions.
#[cfg(target_arch = "x86_64")]
mod vector {
    use std::arch::x86_64::{__m128i, __m256, __m256i, __m512, __m512i};
    use std::mem::transmute;

    #[target_feature(enable = "avx")]
    #[inline]
    pub(super) fn of_bytes(bytes: [u8; 32]) -> __m256i {
        // SAFETY: both types are 32 bytes of which all values are valid.
        unsafe { transmute(bytes) }
    }

    #[target_feature(enable = "avx")]
    #[inline]
    pub(super) fn of_words(words: [u32; 8]) -> __m256i {
        // SAFETY: both types are 32 bytes of which all values are valid.
        unsafe { transmute(words) }
    }

    #[target_feature(enable = "avx")]
    #[inline]
    pub(super) fn of_short_words(words: [u16; 8]) -> __m128i {
        // SAFETY: both types are 16 bytes of which all values are valid.
        unsafe { transmute(words) }
    }

    #[target_feature(enable = "avx")]
    #[inline]
    pub(super) fn to_words(vector: __m256i) -> [u32; 8] {
        // SAFETY: both types are 32 bytes of which all values are valid.
        unsafe { transmute(vector) }
    }

    #[target_feature(enable = "avx")]
    #[inline]
    pub(super) fn of_floats(values: [f32; 8]) -> __m256 {
        // SAFETY: both types are 32 bytes of which all values are valid.
        unsafe { transmute(values) }
    }

    #[target_feature(enable = "avx")]
    #[inline]
    pub(super) fn to_floats(vector: __m256) -> [f32; 8] {
        // SAFETY: both types are 32 bytes of which all values are valid.
        unsafe { transmute(vector) }
    }

    #[target_feature(enable = "avx512f")]
    #[inline]
    pub(super) fn of_16_words(words: [u32; 16]) -> __m512i {
        // SAFETY: both types are 64 bytes of which all values are valid.
        unsafe { transmute(words) }
    }

    #[target_feature(enable = "avx512f")]
    #[inline]
    pub(super) fn of_16_floats(values: [f32; 16]) -> __m512 {
        // SAFETY: both types are 64 bytes of which all values are valid.
        unsafe { transmute(values) }
    }

    #[target_feature(enable = "avx512f")]
    #[inline]
    pub(super) fn to_16_floats(vector: __m512) -> [f32; 16] {
        // SAFETY: both types are 64 bytes of which all values are valid.
        unsafe { transmute(vector) }
    }
}
