//! What the monitor says of itself: an EDID of one block.
//!
//! Spec: VESA E-EDID A.2 (EDID 1.4). The first timing is the preferred one, with CVT-like blanking; a guest takes
//! sizes, and nobody looks at the rest.

/// The size that is preferred until a viewer says otherwise.
pub const PREFERRED: (u32, u32) = (1024, 768);
pub const BYTES: usize = 128;
/// A detailed timing has twelve bits for each direction.
const LARGEST: u32 = 4095;
const SMALLEST: u32 = 64;
const REFRESH_HZ: u32 = 60;
const DOTS_PER_INCH: u32 = 100;

const MAKER: [u8; 2] =
    ((b'I' as u16 - 0x40) << 10 | (b'N' as u16 - 0x40) << 5 | (b'N' as u16 - 0x40)).to_be_bytes();
/// 640x480, 800x600 and 1024x768 at 60 Hz.
const ESTABLISHED: [u8; 3] = [0x21, 0x08, 0x00];
/// Standard timings: horizontal size / 8 - 31, and aspect ratio with refresh rate - 60.
const STANDARD: [(u32, u8); 6] =
    [(1280, 0x80), (1280, 0xC0), (1440, 0x00), (1600, 0x40), (1680, 0x00), (1920, 0xC0)];
/// sRGB's primaries and white.
const CHROMATICITY: [u8; 10] = [0xEE, 0x91, 0xA3, 0x54, 0x4C, 0x99, 0x26, 0x0F, 0x50, 0x54];

/// The nearest size that a monitor may have: some graphics devices have lines of whole groups of 8 pixels only.
pub fn fitted(width: u32, height: u32) -> (u32, u32) {
    (width.clamp(SMALLEST, LARGEST) & !7, height.clamp(SMALLEST, LARGEST))
}

/// The block, for a monitor of this size.
pub fn blob(width: u32, height: u32) -> [u8; BYTES] {
    let (width, height) = fitted(width, height);
    let mut edid = [0; BYTES];
    edid[..8].copy_from_slice(&[0, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0]);
    edid[8..10].copy_from_slice(&MAKER);
    edid[10..18].copy_from_slice(&[1, 0, 1, 0, 0, 0, 1, 35]); // product 1, serial 1, week, 2025
    edid[18..20].copy_from_slice(&[1, 4]);
    let centimetres = |pixels: u32| (pixels * 254 / (100 * DOTS_PER_INCH)).clamp(1, 255) as u8;
    edid[20..25].copy_from_slice(&[0xA5, centimetres(width), centimetres(height), 120, 0x06]);
    edid[25..35].copy_from_slice(&CHROMATICITY);
    edid[35..38].copy_from_slice(&ESTABLISHED);
    edid[38..54].fill(1);
    for (place, (width, rest)) in edid[38..50].chunks_exact_mut(2).zip(STANDARD) {
        place.copy_from_slice(&[(width / 8 - 31) as u8, rest]);
    }
    edid[54..72].copy_from_slice(&detailed(width, height));
    edid[72..90].copy_from_slice(&described(0xFD, &[50, 125, 30, 160, 60, 0, 0x0A, 32, 32, 32, 32, 32, 32]));
    edid[90..108].copy_from_slice(&described(0xFC, b"Innkeeper\n   "));
    edid[108..126].copy_from_slice(&described(0x10, &[0; 13]));
    edid[127] = edid.iter().fold(0u8, |sum, &byte| sum.wrapping_sub(byte));
    edid
}

fn described(tag: u8, text: &[u8; 13]) -> [u8; 18] {
    let mut descriptor = [0; 18];
    descriptor[3] = tag;
    descriptor[5..].copy_from_slice(text);
    descriptor
}

fn detailed(width: u32, height: u32) -> [u8; 18] {
    let (blank_x, blank_y) = (160, 30);
    let clock = (width + blank_x) * (height + blank_y) * REFRESH_HZ / 10_000;
    let [clock_low, clock_high, ..] = clock.min(0xFFFF).to_le_bytes();
    let high = |a: u32, b: u32| (a >> 8 << 4 | b >> 8) as u8;
    let (front_x, sync_x, front_y, sync_y) = (48, 32, 3, 6);
    let millimetres = |pixels: u32| pixels * 254 / (10 * DOTS_PER_INCH);
    let (wide, tall) = (millimetres(width).min(LARGEST), millimetres(height).min(LARGEST));
    [
        clock_low,
        clock_high,
        width as u8,
        blank_x as u8,
        high(width, blank_x),
        height as u8,
        blank_y as u8,
        high(height, blank_y),
        front_x,
        sync_x,
        front_y << 4 | sync_y,
        0,
        wide as u8,
        tall as u8,
        high(wide, tall),
        0,
        0,
        0x1E, // digital, separate syncs, both positive
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_block_adds_up_and_names_the_size() {
        for (width, height) in [PREFERRED, (1920, 1080), (0, 0), (u32::MAX, u32::MAX)] {
            let edid = blob(width, height);
            assert_eq!(edid.iter().fold(0u8, |sum, &byte| sum.wrapping_add(byte)), 0);
            let told = u32::from(edid[56]) | u32::from(edid[58] >> 4) << 8;
            assert_eq!(told, width.clamp(64, LARGEST) & !7);
        }
    }
}
