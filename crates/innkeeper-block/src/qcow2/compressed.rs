//! Writing compressed clusters: for tools that make images, not for guests.

use std::io;

use super::codec;
use super::disk::{Qcow2, Space};
use crate::Disk;
use crate::error::{Error, Result};

impl Qcow2 {
    /// Writes a whole cluster compressed, or as it is if that is no shorter. `data` may end early where the disk does.
    ///
    /// # Errors
    /// `InvalidInput` unless it is one cluster; the host's answer.
    pub fn write_compressed(&self, guest: u64, data: &[u8]) -> io::Result<()> {
        self.check_cluster(guest, data.len() as u64)?;
        let size = self.geometry.cluster_size() as usize;
        if data.len() == size {
            return self.write_deflated(
                guest,
                data,
                codec::compress(self.header.compression, data).as_deref(),
            );
        }
        let mut cluster = data.to_vec();
        cluster.resize(size, 0);
        self.write_deflated(guest, data, codec::compress(self.header.compression, &cluster).as_deref())
    }

    /// As [`Self::write_compressed`], with what [`codec::compress`] made of the cluster elsewhere.
    ///
    /// # Errors
    /// As for [`Self::write_compressed`].
    pub fn write_deflated(&self, guest: u64, data: &[u8], deflated: Option<&[u8]>) -> io::Result<()> {
        self.check_cluster(guest, data.len() as u64)?;
        let Some(bytes) = deflated else {
            return crate::Disk::write(self, guest, &[io::IoSlice::new(data)]);
        };
        {
            let _under_way = self.epochs.enter();
            let cluster = self.geometry.cluster_size();
            let _claim = self.claims.take(guest..guest + cluster);
            self.own_table(guest)?;
            let old = self.entries(guest..guest + cluster)?;
            let host = self.place(bytes.len() as u64).map_err(|error| self.failed(error))?;
            let entry = self.geometry.compressed_entry(host, bytes.len() as u64);
            self.medium.write_all(host, bytes)?;
            self.link(guest, &[(entry.map_err(|error| self.failed(error))?, 0)])?;
            self.release(&old);
        }
        self.relieve()
    }

    fn check_cluster(&self, guest: u64, length: u64) -> io::Result<()> {
        self.check_write(guest, length)?;
        let cluster = self.geometry.cluster_size();
        if self.geometry.is_aligned(guest) && length == cluster.min(self.size() - guest) && length > 0 {
            return Ok(());
        }
        let text = format!("{length} bytes at {guest} are no cluster of the image");
        Err(io::Error::new(io::ErrorKind::InvalidInput, text))
    }

    /// Room for some bytes behind the last ones if possible: a cluster is shared by those that lie in it.
    fn place(&self, length: u64) -> Result<u64> {
        let (bits, size) = (self.geometry.cluster_bits, self.geometry.cluster_size());
        let mut space = self.space();
        let (at, left) = space.compressed;
        let shares = left > 0 && add_user(&mut space, at >> bits)?;
        if shares && length <= left {
            space.compressed = (at + length, left - length);
            return Ok(at);
        }
        drop(space);
        let new = self.allocate_for_tools()?;
        let mut space = self.space();
        let follows = shares && new == at + left && space.compressed == (at, left);
        if follows {
            space.compressed = (at + length, left + size - length);
            return Ok(at);
        }
        if shares {
            space.refcounts.change(at >> bits, false)?;
        }
        space.compressed = (new + length, size - length);
        Ok(new)
    }

    fn allocate_for_tools(&self) -> Result<u64> {
        self.allocate(1, true)
            .map(|got| got.offset)
            .map_err(Error::host(format!("allocate in {}", self.medium.name())))
    }
}

/// One user more of a cluster that holds compressed data, if its refcount can say so.
fn add_user(space: &mut Space, cluster: u64) -> Result<bool> {
    match space.refcounts.change(cluster, true) {
        Ok(_) => Ok(true),
        Err(Error::Refused(_)) => Ok(false),
        Err(error) => Err(error),
    }
}
