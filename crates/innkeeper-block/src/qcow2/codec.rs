//! Compressed clusters: raw deflate with QEMU's window of 4 KiB, and zstd frames.
//!
//! `docs/interop/qcow2.rst`, "Compressed Clusters Descriptor". A cluster's data ends somewhere within its last
//! sector, so what follows it is ignored.

use std::cell::RefCell;

use flate2::{Compress, Decompress, FlushCompress, FlushDecompress, Status};
use zstd::zstd_safe::{self, CCtx, CParameter, DCtx, DParameter, InBuffer, OutBuffer};

use super::header::Compression;
use crate::error::{Error, Result};

/// log2 of the deflate window that QEMU decompresses with.
const WINDOW_BITS: u8 = 12;
/// log2 of the largest window a zstd frame may ask memory for; a cluster has at most 2 MiB.
const ZSTD_WINDOW_BITS: u32 = 24;

thread_local! {
    static INFLATE: RefCell<Decompress> = RefCell::new(Decompress::new(false));
    static ZSTD: RefCell<DCtx<'static>> = RefCell::new(DCtx::create());
    // Making one costs about as much as compressing a cluster with it.
    static DEFLATE: RefCell<Compress> = RefCell::new(deflater());
    static PACK: RefCell<CCtx<'static>> = RefCell::new(CCtx::create());
}

fn deflater() -> Compress {
    Compress::new_with_window_bits(flate2::Compression::default(), false, WINDOW_BITS)
}

fn broken() -> Error {
    Error::Corrupt("a compressed cluster cannot be decompressed".into())
}

/// Fills `cluster` with what `bytes` begin with.
///
/// # Errors
/// They are no compressed cluster of that size.
pub fn decompress(kind: Compression, bytes: &[u8], cluster: &mut [u8]) -> Result<()> {
    match kind {
        Compression::Zlib => INFLATE.with_borrow_mut(|inflate| {
            inflate.reset(false);
            let status = inflate.decompress(bytes, cluster, FlushDecompress::Finish);
            let filled = inflate.total_out() == cluster.len() as u64;
            if filled && matches!(status, Ok(Status::StreamEnd | Status::BufError | Status::Ok)) {
                Ok(())
            } else {
                Err(broken())
            }
        }),
        Compression::Zstd => ZSTD.with_borrow_mut(|context| unzstd(context, bytes, cluster)),
    }
}

fn unzstd(context: &mut DCtx<'_>, bytes: &[u8], cluster: &mut [u8]) -> Result<()> {
    context.reset(zstd_safe::ResetDirective::SessionAndParameters).map_err(|_| broken())?;
    context.set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW_BITS)).map_err(|_| broken())?;
    let size = cluster.len();
    let mut output = OutBuffer::around(cluster);
    let mut input = InBuffer::around(bytes);
    while output.pos() < size {
        let before = (input.pos(), output.pos());
        context.decompress_stream(&mut output, &mut input).map_err(|_| broken())?;
        if (input.pos(), output.pos()) == before {
            return Err(broken());
        }
    }
    Ok(())
}

/// `None` if it would not get smaller.
#[must_use]
pub fn compress(kind: Compression, cluster: &[u8]) -> Option<Vec<u8>> {
    let mut out = vec![0; cluster.len() - 1];
    let length = match kind {
        Compression::Zlib => DEFLATE.with_borrow_mut(|deflate| {
            deflate.reset();
            match deflate.compress(cluster, &mut out, FlushCompress::Finish) {
                Ok(Status::StreamEnd) => Some(deflate.total_out() as usize),
                _ => {
                    // zlib-rs keeps what did not fit through a reset, and panics over it in the next stream.
                    *deflate = deflater();
                    None
                }
            }
        })?,
        Compression::Zstd => PACK.with_borrow_mut(|context| {
            context.reset(zstd_safe::ResetDirective::SessionAndParameters).ok()?;
            context.set_parameter(CParameter::CompressionLevel(zstd_safe::CLEVEL_DEFAULT)).ok()?;
            context.compress2(&mut out[..], cluster).ok()
        })?,
    };
    out.truncate(length);
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(size: usize) -> Vec<u8> {
        (0..size).map(|index| (index / 100 * index % 7) as u8).collect()
    }

    #[test]
    fn a_cluster_comes_back_whatever_follows_it() {
        for kind in [Compression::Zlib, Compression::Zstd] {
            for size in [512, 65536, 2 << 20] {
                let mut bytes = compress(kind, &text(size)).unwrap();
                assert!(bytes.len() < size);
                bytes.extend([0xA5; 300]);
                let mut cluster = vec![0; size];
                decompress(kind, &bytes, &mut cluster).unwrap();
                assert!(cluster == text(size), "{kind:?} {size}");
            }
        }
    }

    #[test]
    fn noise_is_not_compressed_and_not_decompressed() {
        let mut state = 1u64;
        let mut noise = vec![0; 65536];
        for byte in &mut noise {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            *byte = (state >> 56) as u8;
        }
        for kind in [Compression::Zlib, Compression::Zstd] {
            assert_eq!(compress(kind, &noise), None);
            assert!(compress(kind, &text(65536)).is_some(), "what did not fit leaves nothing behind");
            (0..200).for_each(|at| assert_eq!(compress(kind, &noise[at * 3..at * 3 + 512]), None));
            let mut cluster = vec![0; 65536];
            assert!(decompress(kind, &noise, &mut cluster).is_err());
            let short = compress(kind, &text(512)).unwrap();
            assert!(decompress(kind, &short, &mut cluster).is_err(), "fewer bytes than a cluster");
            assert!(decompress(kind, &[], &mut cluster).is_err());
        }
    }
}
