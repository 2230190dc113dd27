//! Logarithmic scales: sixteen levels an octave, always rounded up, so that no coordinate clips.

/// Largest magnitude a block coding takes. Real updates are some 30 orders of magnitude smaller; the room above it
/// keeps every decoded value finite.
pub const MOST_MAGNITUDE: f32 = 1_329_227_995_784_915_872_903_807_060_280_344_576.0; // 2^120

/// Levels of an octave.
const PER_OCTAVE: i16 = 16;
/// 2^(j/16) for j in 0..16, each rounded to nearest f32.
#[allow(clippy::approx_constant)] // one of them is the square root of 2
const OCTAVE: [f32; 16] = [
    1.0,
    1.044_273_7,
    1.090_507_7,
    1.138_788_6,
    1.189_207_1,
    1.241_857_8,
    1.296_839_6,
    1.354_255_6,
    1.414_213_5,
    1.476_826_2,
    1.542_210_8,
    1.610_490_3,
    1.681_792_9,
    1.756_252_2,
    1.834_008_1,
    1.915_206_6,
];

/// Fraction bits of each step of the octave, then two that no fraction reaches.
const STEPS: [u32; 18] = {
    let mut steps = [u32::MAX; 18];
    let mut step = 0;
    while step < 16 {
        steps[step] = OCTAVE[step].to_bits() & 0x7f_ffff;
        step += 1;
    }
    steps
};
/// For each sixteenth of the fractions: how many steps lie below all of it.
const SURE: [u8; 16] = {
    let mut sure = [0; 16];
    let mut sixteenth = 0;
    while sixteenth < 16 {
        while STEPS[sure[sixteenth] as usize] < (sixteenth as u32) << 19 {
            sure[sixteenth] += 1;
        }
        sixteenth += 1;
    }
    sure
};

/// The scale 2^(level/16), as far as f32 goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Level(pub(crate) i16);

impl Level {
    /// The least level, 2^-100: smaller blocks use it too, which only rounds them more coarsely.
    pub(crate) const MIN: Self = Self(-100 * PER_OCTAVE);
    /// The greatest level, that of [`MOST_MAGNITUDE`].
    pub(crate) const MAX: Self = Self(120 * PER_OCTAVE);
    /// Scale code of a block at its segment's top level; each code below is one level less. 0 is the zero block.
    const TOP_CODE: i16 = 255;

    /// The least level whose scale is at least the positive, finite magnitude with these bits.
    #[inline(always)]
    pub(crate) fn covering(magnitude_bits: u32) -> Self {
        let (exponent, fraction) = ((magnitude_bits >> 23) as i16 - 127, magnitude_bits & 0x7f_ffff);
        // How many steps of the octave lie below the fraction: those below its sixteenth, and up to two inside it.
        let sure = usize::from(SURE[(fraction >> 19) as usize]);
        let below = |step: usize| i16::from(STEPS[step] < fraction);
        let step = sure as i16 + below(sure) + below(sure + 1);
        Self((exponent * PER_OCTAVE + step).max(Self::MIN.0))
    }

    /// 2^(level/16).
    #[inline(always)]
    pub(crate) fn scale(self) -> f32 {
        let exponent = (127 + self.0.div_euclid(PER_OCTAVE)) as u32;
        OCTAVE[self.0.rem_euclid(PER_OCTAVE) as usize] * f32::from_bits(exponent << 23)
    }

    /// The scale code of a block at this level in a segment whose greatest level is `top`. Levels too far below share
    /// the least code.
    #[inline(always)]
    pub(crate) fn code_under(self, top: Self) -> u8 {
        (self.0 - top.0 + Self::TOP_CODE).max(1) as u8
    }

    /// The level of a block with scale code `code`, 1 to 255.
    #[inline(always)]
    pub(crate) fn from_code(code: u8, top: Self) -> Self {
        Self(top.0 - Self::TOP_CODE + i16::from(code))
    }

    /// Whether a payload may name this as a segment's top level.
    pub(crate) fn is_valid_top(self) -> bool {
        (Self::MIN..=Self::MAX).contains(&self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_octave_is_made_of_powers_of_two() {
        for (j, &step) in OCTAVE.iter().enumerate() {
            assert_eq!(step, 2f64.powf(j as f64 / 16.0) as f32);
        }
        assert_eq!(MOST_MAGNITUDE, 2f32.powi(120));
    }

    #[test]
    fn the_covering_level_is_the_least_that_covers() {
        for exponent in -99..120 {
            for fraction in [0u32, 1, 0x05_aac3, 0x05_aac4, 0x20_0000, 0x7a_0000, 0x7f_ffff] {
                let magnitude = f32::from_bits(((exponent + 127) as u32) << 23 | fraction);
                let level = Level::covering(magnitude.to_bits());
                assert!(level.scale() >= magnitude, "{magnitude:e} at {level:?}");
                assert!(Level(level.0 - 1).scale() < magnitude, "{magnitude:e} at {level:?}");
            }
        }
    }

    #[test]
    fn denormals_are_covered_by_the_least_level() {
        assert_eq!(Level::covering(1), Level::MIN);
        assert_eq!(Level::covering(f32::MIN_POSITIVE.to_bits()), Level::MIN);
        assert_eq!(Level::covering(MOST_MAGNITUDE.to_bits()), Level::MAX);
    }

    #[test]
    fn codes_name_levels_below_the_top() {
        let top = Level(5);
        assert_eq!(top.code_under(top), 255);
        assert_eq!(Level(-249).code_under(top), 1);
        assert_eq!(Level(-1000).code_under(top), 1);
        for code in 1..=255 {
            assert_eq!(Level::from_code(code, top).code_under(top), code);
        }
    }
}
