//! What no loop over lanes can say, an instruction or two each on AVX-512; beside every one there is a loop that does the same.
//!
//! Absent on purpose: when these may be run (`simd`).

use core::arch::x86_64::*;

use crate::auto::{
    kernel::LANES,
    keys::{self, Carried, Key},
    lookups::Pushes,
    push::Word,
    raw_bits,
};

/// [`kernel::refill`].
#[target_feature(enable = "avx512f")]
#[inline]
pub(super) fn refill(low: &[u32; LANES], words: &[u32; LANES], states: &mut [u32; LANES]) -> usize {
    // SAFETY: the arrays are of 64 bytes each, and these loads and stores do not need them aligned.
    unsafe {
        let low = _mm512_loadu_si512(low.as_ptr().cast());
        let empty = _mm512_cmplt_epu32_mask(low, _mm512_set1_epi32(1 << 16));
        let words = _mm512_maskz_expand_epi32(empty, _mm512_loadu_si512(words.as_ptr().cast()));
        let refilled = _mm512_or_si512(_mm512_slli_epi32::<16>(low), words);
        _mm512_storeu_si512(states.as_mut_ptr().cast(), _mm512_mask_mov_epi32(low, empty, refilled));
        empty.count_ones() as usize
    }
}

/// [`keys::compact`].
#[target_feature(enable = "avx512f")]
#[inline]
pub(super) fn compact<C: Carried>(
    chosen: &[u32; LANES],
    (some, carry): (&[Key; LANES], &[C; LANES]),
    (keys, carried): (&mut [Key], &mut [C]),
) -> usize {
    const { assert!(size_of::<C>() == 4 && size_of::<Key>() == 4) };
    let (Some(keys), Some(carried)) = (keys.first_chunk_mut::<LANES>(), carried.first_chunk_mut::<LANES>()) else {
        return keys::compact(chosen, (some, carry), (keys, carried));
    };
    // SAFETY: all arrays are of 64 bytes, and these loads and stores do not need them aligned. A key is a u32, and what goes
    // with it has 32 bits that may be any.
    unsafe {
        let chosen = _mm512_loadu_si512(chosen.as_ptr().cast());
        let mask = _mm512_test_epi32_mask(chosen, chosen);
        let some = _mm512_maskz_compress_epi32(mask, _mm512_loadu_si512(some.as_ptr().cast()));
        let carry = _mm512_maskz_compress_epi32(mask, _mm512_loadu_si512(carry.as_ptr().cast()));
        _mm512_storeu_si512(keys.as_mut_ptr().cast(), some);
        _mm512_storeu_si512(carried.as_mut_ptr().cast(), carry);
        mask.count_ones() as usize
    }
}

/// [`raw_bits::spread`].
#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
pub(super) fn spread(room: &[u8; raw_bits::ROOM], at: u32, counts: &[u32; LANES]) -> ([u32; LANES], u32) {
    let mut bits = [0; LANES];
    // SAFETY: arrays are of 64 bytes, these loads and stores do not need them aligned, and places in `room` are clamped to those of
    // its first byte and of the last with three behind it.
    unsafe {
        let (zero, one) = (_mm512_setzero_si512(), _mm512_set1_epi32(1));
        let counts = _mm512_loadu_si512(counts.as_ptr().cast());
        // Sums of all up to each: of two, of four, of eight, of sixteen.
        let mut ends = _mm512_add_epi32(counts, _mm512_alignr_epi32::<15>(counts, zero));
        ends = _mm512_add_epi32(ends, _mm512_alignr_epi32::<14>(ends, zero));
        ends = _mm512_add_epi32(ends, _mm512_alignr_epi32::<12>(ends, zero));
        ends = _mm512_add_epi32(ends, _mm512_alignr_epi32::<8>(ends, zero));
        let starts = _mm512_add_epi32(_mm512_sub_epi32(ends, counts), _mm512_set1_epi32(at as i32));
        let last = _mm512_set1_epi32(raw_bits::ROOM as i32 - 4);
        let places = _mm512_sub_epi32(last, _mm512_min_epu32(_mm512_srli_epi32::<3>(starts), last));
        let fours = _mm512_i32gather_epi32::<1>(places, room.as_ptr().cast());
        let turned = _mm512_set4_epi32(0x0c0d_0e0f, 0x0809_0a0b, 0x0405_0607, 0x0001_0203);
        let fours = _mm512_shuffle_epi8(fours, turned);
        let taken = _mm512_srlv_epi32(fours, _mm512_and_si512(starts, _mm512_set1_epi32(7)));
        let mask = _mm512_sub_epi32(_mm512_sllv_epi32(one, counts), one);
        _mm512_storeu_si512(bits.as_mut_ptr().cast(), _mm512_and_si512(taken, mask));
        let end = _mm512_extracti32x4_epi32::<3>(ends);
        (bits, _mm_cvtsi128_si32(_mm_shuffle_epi32::<0xff>(end)) as u32)
    }
}

/// [`keys::inverses`].
#[target_feature(enable = "avx512f")]
#[inline]
pub(super) fn inverses(of: &[f32; keys::DEPTHS], depths: &[u32; LANES]) -> [f32; LANES] {
    const { assert!(keys::DEPTHS == 64) };
    let mut found = [0.0; LANES];
    // SAFETY: arrays are of 64 bytes or four times that, and these loads and stores do not need them aligned.
    unsafe {
        let depths = _mm512_loadu_si512(depths.as_ptr().cast());
        let quarter = |at: usize| _mm512_loadu_ps(of.as_ptr().add(16 * at));
        let low = _mm512_permutex2var_ps(quarter(0), depths, quarter(1));
        let high = _mm512_permutex2var_ps(quarter(2), depths, quarter(3));
        let is_high = _mm512_test_epi32_mask(depths, _mm512_set1_epi32(32));
        _mm512_storeu_ps(found.as_mut_ptr(), _mm512_mask_mov_ps(low, is_high, high));
    }
    found
}

/// [`kernel::look_up`].
#[target_feature(enable = "avx512f")]
#[inline]
pub(super) fn look_up<T: Carried>(all: &[T; Pushes::LEN], places: &[u32; LANES], found: &mut [T; LANES]) {
    const { assert!(Pushes::LEN.is_power_of_two() && size_of::<T>() == 4) };
    // SAFETY: the mask keeps places inside `all`, and the others are arrays of 64 bytes. What is found has 32 bits that may be any.
    unsafe {
        let places = _mm512_loadu_si512(places.as_ptr().cast());
        let places = _mm512_and_si512(places, _mm512_set1_epi32(Pushes::LEN as i32 - 1));
        let at_places = _mm512_i32gather_epi32::<4>(places, all.as_ptr().cast());
        _mm512_storeu_si512(found.as_mut_ptr().cast(), at_places);
    }
}

/// [`push::emit`].
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
#[inline]
pub(super) fn emit(full: &[u32; LANES], states: &[u32; LANES], room: &mut [Word]) -> usize {
    let Some(room) = room.last_chunk_mut::<LANES>() else { return 0 };
    // SAFETY: all arrays are as long as what is read and written, and these loads and stores do not need them aligned.
    unsafe {
        let full = _mm512_loadu_si512(full.as_ptr().cast());
        let mask = _mm512_test_epi32_mask(full, full);
        let count = mask.count_ones();
        let words = _mm512_maskz_compress_epi32(mask, _mm512_loadu_si512(states.as_ptr().cast()));
        // To the end of sixteen words, of which the others do not count: a store of some words is slow.
        let steps = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
        let turned = _mm512_permutexvar_epi32(_mm512_add_epi32(steps, _mm512_set1_epi32(count as i32)), words);
        _mm256_storeu_si256(room.as_mut_ptr().cast(), _mm512_cvtepi32_epi16(turned));
        count as usize
    }
}
