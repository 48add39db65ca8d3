//! A zlib stream that lasts as long as its viewer: each piece is flushed, so that it can be read when it arrives.

use flate2::{Compress, Compression, FlushCompress, Status};

/// One of a viewer's streams.
pub struct Stream(Compress);

impl Stream {
    /// `level` is zlib's, 0 to 9.
    pub fn new(level: u32) -> Self {
        Self(Compress::new(Compression::new(level.min(9)), true))
    }

    /// Appends what `input` becomes.
    pub fn compress(&mut self, input: &[u8], out: &mut Vec<u8>) {
        let begin = self.0.total_in();
        out.reserve(input.len() / 4 + 64);
        loop {
            let consumed = (self.0.total_in() - begin) as usize;
            // A buffer error only says that there is nothing left to do.
            let status =
                self.0.compress_vec(&input[consumed..], out, FlushCompress::Sync).unwrap_or(Status::BufError);
            let consumed = (self.0.total_in() - begin) as usize;
            let flushed = out.len() < out.capacity() || status == Status::BufError;
            if consumed == input.len() && flushed {
                return;
            }
            out.reserve(4096.max(out.len() / 2));
        }
    }
}
