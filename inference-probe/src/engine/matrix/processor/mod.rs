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
mod tile;

use super::encoding::Encoding;
use super::numbers::Element;
use super::product::{self, Panel, Rounded, Rows};

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
            let has_avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
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
pub(super) fn round(processor: Processor, values: &[f32], rounded: &mut Rounded) {
    call!(processor, round(values, rounded));
}

pub(super) fn multiply_blocks<E: Encoding>(processor: Processor, panel: &mut Panel<'_>, input: &Rounded) {
    call!(processor, multiply_blocks::<E>(panel, input));
}

pub(super) fn multiply_elements<E: Element>(processor: Processor, panel: &mut Panel<'_>, input: &Rows<'_>) {
    call!(processor, multiply_elements::<E>(panel, input));
}

/// Vectors from arrays of the same size, and back.
#[cfg(target_arch = "x86_64")]
mod vector {
    use std::arch::x86_64::{
        __m256, __m256i, __m512, __m512i, _mm256_loadu_ps, _mm256_loadu_si256, _mm256_storeu_ps, _mm512_loadu_ps,
        _mm512_loadu_si512, _mm512_storeu_ps,
    };

    #[target_feature(enable = "avx")]
    #[inline]
    pub(super) fn of_bytes(bytes: &[u8; 32]) -> __m256i {
        // SAFETY: an array of 32 bytes, read without a claim to alignment.
        unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
    }

    #[target_feature(enable = "avx")]
    #[inline]
    pub(super) fn of_signed_bytes(bytes: &[i8; 32]) -> __m256i {
        // SAFETY: an array of 32 bytes, read without a claim to alignment.
        unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
    }

    #[target_feature(enable = "avx")]
    #[inline]
    pub(super) fn of_floats(values: &[f32; 8]) -> __m256 {
        // SAFETY: an array of 32 bytes, read without a claim to alignment.
        unsafe { _mm256_loadu_ps(values.as_ptr()) }
    }

    #[target_feature(enable = "avx")]
    #[inline]
    pub(super) fn to_floats(vector: __m256) -> [f32; 8] {
        let mut values = [0.0; 8];
        // SAFETY: an array of 32 bytes, written without a claim to alignment.
        unsafe { _mm256_storeu_ps(values.as_mut_ptr(), vector) };
        values
    }

    #[target_feature(enable = "avx512f")]
    #[inline]
    pub(super) fn of_64_bytes(bytes: &[u8; 64]) -> __m512i {
        // SAFETY: an array of 64 bytes, read without a claim to alignment.
        unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) }
    }

    #[target_feature(enable = "avx512f")]
    #[inline]
    pub(super) fn of_16_floats(values: &[f32; 16]) -> __m512 {
        // SAFETY: an array of 64 bytes, read without a claim to alignment.
        unsafe { _mm512_loadu_ps(values.as_ptr()) }
    }

    #[target_feature(enable = "avx512f")]
    #[inline]
    pub(super) fn to_16_floats(vector: __m512) -> [f32; 16] {
        let mut values = [0.0; 16];
        // SAFETY: an array of 64 bytes, written without a claim to alignment.
        unsafe { _mm512_storeu_ps(values.as_mut_ptr(), vector) };
        values
    }
}
