//! Codes to bit planes and back, in loops of constant lengths that compilers turn into SIMD.
//!
//! Absent on purpose: what codes stand for (`kernel`), and where their planes lie (`planes`, `plane_bytes`).

use super::{plane_bytes, planes};

#[inline(always)]
pub(super) fn pack_whole<const BITS: u8, const SIZE: usize>(codes: &[u32; SIZE], packed: &mut [u8]) {
    let mut packed = packed;
    let mut shift = 0;
    for &width in planes(BITS) {
        let stride = plane_bytes(width, SIZE);
        let (plane, rest) = packed.split_at_mut(stride);
        packed = rest;
        for (i, out) in plane.iter_mut().enumerate() {
            let mut byte = 0;
            for field in 0..8 / usize::from(width) {
                let code = codes[field * stride + i];
                byte |= ((code >> shift) & u32::from(mask(width))) << (field as u32 * u32::from(width));
            }
            *out = byte as u8;
        }
        shift += width;
    }
}

/// [`pack_whole`] for blocks of any length: only the last byte can lack a coordinate for some of its fields.
#[inline(always)]
pub(super) fn pack_odd<const BITS: u8>(codes: &[u8], packed: &mut [u8]) {
    let mut packed = packed;
    let mut shift = 0;
    for &width in planes(BITS) {
        let stride = plane_bytes(width, codes.len());
        let (plane, rest) = packed.split_at_mut(stride);
        packed = rest;
        plane.fill(0);
        for (field, codes) in codes.chunks(stride).enumerate() {
            for (out, code) in plane.iter_mut().zip(codes) {
                *out |= ((code >> shift) & mask(width)) << (field as u8 * width);
            }
        }
        shift += width;
    }
}

#[inline(always)]
pub(super) fn unpack<const BITS: u8>(packed: &[u8], codes: &mut [u8]) {
    let mut packed = packed;
    let mut shift = 0;
    for &width in planes(BITS) {
        let stride = plane_bytes(width, codes.len());
        let (plane, rest) = packed.split_at(stride);
        packed = rest;
        let mask = mask(width);
        for (field, codes) in codes.chunks_mut(stride).enumerate() {
            for (code, byte) in codes.iter_mut().zip(plane) {
                let bits = ((byte >> (field as u8 * width)) & mask) << shift;
                *code = if shift == 0 { bits } else { *code | bits };
            }
        }
        shift += width;
    }
}

#[inline(always)]
const fn mask(width: u8) -> u8 {
    (0xff_u16 >> (8 - width)) as u8
}
