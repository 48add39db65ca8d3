//! What the messages about files and directories do. See [`super::session`].

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};

use super::folder::{Changes, joined, split};
use super::session::Session;
use super::sys::{self, error};
use super::wire::{HEADER, Qid, Reader, Writer};

/// All that there was before birth times and generations.
const BASIC_ATTRIBUTES: u64 = 0x7FF;
const REMOVE_DIRECTORY: u32 = 0x200;
const UNLOCKED: u8 = 2;
const LOCK_TYPES: u8 = 3;
/// A directory's entry, besides its name: in an answer, and as the host gives it.
const ENTRY_BYTES: usize = Qid::BYTES + 8 + 1 + 2;
const HOST_ENTRY_BYTES: usize = 19;
const DIRECTORY_PIECE: usize = 32 << 10;

// What a change of attributes changes.
const SET_MODE: u32 = 1 << 0;
const SET_OWNER: u32 = 1 << 1;
const SET_GROUP: u32 = 1 << 2;
const SET_SIZE: u32 = 1 << 3;
const SET_ACCESSED: u32 = 1 << 4;
const SET_MODIFIED: u32 = 1 << 5;
const ACCESSED_GIVEN: u32 = 1 << 7;
const MODIFIED_GIVEN: u32 = 1 << 8;

type Done = io::Result<()>;

impl Session {
    pub(super) fn open(&mut self, it: &mut Reader<'_>, out: &mut Writer) -> Done {
        let (fid, flags) = (it.word()?, it.word()?);
        self.may_open(fid)?;
        let path = self.path(fid)?.to_vec();
        let file = self.folder.open_file(&path, flags as i32)?;
        self.opened_as(fid, path, file, flags, out)
    }

    pub(super) fn create(&mut self, it: &mut Reader<'_>, out: &mut Writer) -> Done {
        let (fid, name, flags, mode, _group) = (it.word()?, it.name()?, it.word()?, it.word()?, it.word()?);
        self.may_open(fid)?;
        let parent = self.path(fid)?;
        let path = joined(parent, name)?;
        let file = self.folder.create(parent, name, flags as i32, mode)?;
        self.opened_as(fid, path, file, flags, out)
    }

    fn opened_as(&mut self, fid: u32, path: Vec<u8>, file: File, flags: u32, out: &mut Writer) -> Done {
        out.qid(self.folder.qid(&file.metadata()?));
        out.word(0); // as much at once as a message holds
        self.set_open(fid, path, file, flags as i32);
        Ok(())
    }

    pub(super) fn read(&self, it: &mut Reader<'_>, out: &mut Writer, room: usize) -> Done {
        let (fid, offset, count) = (it.word()?, it.long()?, it.word()? as usize);
        let file = self.opened(fid)?;
        let start = HEADER + 4;
        out.bytes.resize(start + count.min(room.saturating_sub(start)), 0);
        let length = retried(|| file.read_at(&mut out.bytes[start..], offset))?;
        out.bytes.truncate(start + length);
        out.bytes[HEADER..start].copy_from_slice(&(length as u32).to_le_bytes());
        Ok(())
    }

    pub(super) fn write(&self, it: &mut Reader<'_>, out: &mut Writer) -> Done {
        let (fid, offset, count) = (it.word()?, it.long()?, it.word()? as usize);
        let (file, data) = (self.opened(fid)?, it.bytes(count)?);
        self.folder.may_write()?;
        out.word(retried(|| file.write_at(data, offset))? as u32);
        Ok(())
    }

    pub(super) fn synchronize(&self, it: &mut Reader<'_>) -> Done {
        let file = self.opened(it.word()?)?;
        // Drivers of the first days do not say whether they want all or only data.
        if it.word().unwrap_or(0) == 0 { file.sync_all() } else { file.sync_data() }
    }

    // ---- directories ----------------------------------------------------------------------------

    pub(super) fn read_directory(&self, it: &mut Reader<'_>, out: &mut Writer, room: usize) -> Done {
        let (fid, offset, count) = (it.word()?, it.long()?, it.word()? as usize);
        let (directory, path) = (self.opened(fid)?, self.path(fid)?);
        let start = HEADER + 4;
        let end = start + count.min(room.saturating_sub(start));
        out.bytes.resize(start, 0);
        let mut entries = vec![0; DIRECTORY_PIECE];
        let filled = sys::directory_entries(directory, offset, &mut entries)?;
        entries.truncate(filled);
        let here = self.folder.qid(&directory.metadata()?);
        let mut rest = &entries[..];
        while let Some((entry, after)) = HostEntry::take(rest) {
            rest = after;
            if out.bytes.len() + ENTRY_BYTES + entry.name.len() > end {
                break;
            }
            let up = path.is_empty() && entry.name == b".."; // what is above the folder is nobody's business
            out.qid(if up { here } else { entry.qid() });
            out.long(entry.next);
            out.byte(entry.kind);
            out.text(entry.name)?;
        }
        if out.bytes.len() == start && !entries.is_empty() {
            return Err(error(libc::EINVAL)); // no room for one: an empty answer would say that it is the end
        }
        let length = (out.bytes.len() - start) as u32;
        out.bytes[HEADER..start].copy_from_slice(&length.to_le_bytes());
        Ok(())
    }

    pub(super) fn make_directory(&self, it: &mut Reader<'_>, out: &mut Writer) -> Done {
        let (parent, name, mode, _group) = (it.word()?, it.name()?, it.word()?, it.word()?);
        out.qid(self.folder.make_directory(self.path(parent)?, name, mode)?);
        Ok(())
    }

    pub(super) fn make_node(&self, it: &mut Reader<'_>, out: &mut Writer) -> Done {
        let (parent, name, mode) = (it.word()?, it.name()?, it.word()?);
        out.qid(self.folder.make_node(self.path(parent)?, name, mode)?);
        Ok(())
    }

    pub(super) fn make_symlink(&self, it: &mut Reader<'_>, out: &mut Writer) -> Done {
        let (parent, name, target) = (it.word()?, it.name()?, it.text()?);
        out.qid(self.folder.make_symlink(self.path(parent)?, name, target)?);
        Ok(())
    }

    pub(super) fn read_link(&self, it: &mut Reader<'_>, out: &mut Writer) -> Done {
        let object = self.folder.at(self.path(it.word()?)?)?;
        if !object.metadata()?.is_symlink() {
            return Err(error(libc::EINVAL));
        }
        out.text(&sys::read_link(&object)?)
    }

    pub(super) fn link(&self, it: &mut Reader<'_>) -> Done {
        let (parent, fid, name) = (it.word()?, it.word()?, it.name()?);
        self.folder.link(self.path(fid)?, self.path(parent)?, name)
    }

    pub(super) fn rename(&mut self, it: &mut Reader<'_>) -> Done {
        let (fid, parent, name) = (it.word()?, it.word()?, it.name()?);
        let (old, to) = (self.path(fid)?.to_vec(), self.path(parent)?.to_vec());
        let (from, old_name) = split(&old).ok_or_else(|| error(libc::EBUSY))?;
        self.rename_path(from, old_name, &to, name)
    }

    pub(super) fn rename_at(&mut self, it: &mut Reader<'_>) -> Done {
        let (from, old, to, new) = (it.word()?, it.name()?, it.word()?, it.name()?);
        let (from, to) = (self.path(from)?.to_vec(), self.path(to)?.to_vec());
        self.rename_path(&from, old, &to, new)
    }

    fn rename_path(&mut self, from: &[u8], old: &[u8], to: &[u8], new: &[u8]) -> Done {
        let (before, after) = (joined(from, old)?, joined(to, new)?);
        self.folder.rename(from, old, to, new)?;
        self.moved(&before, &after);
        Ok(())
    }

    pub(super) fn unlink_at(&self, it: &mut Reader<'_>) -> Done {
        let (parent, name, flags) = (it.word()?, it.name()?, it.word()?);
        self.folder.unlink(self.path(parent)?, name, flags & REMOVE_DIRECTORY != 0)
    }

    // ---- attributes -----------------------------------------------------------------------------

    pub(super) fn attributes(&self, it: &mut Reader<'_>, out: &mut Writer) -> Done {
        let (fid, _wanted) = (self.fid(it.word()?)?, it.long()?);
        let found = match &fid.open {
            Some(file) => file.metadata()?,
            None => self.folder.at(&fid.path)?.metadata()?,
        };
        out.long(BASIC_ATTRIBUTES);
        out.qid(self.folder.qid(&found));
        put_attributes(&found, out);
        Ok(())
    }

    pub(super) fn set_attributes(&self, it: &mut Reader<'_>) -> Done {
        let (fid, which, mode) = (self.fid(it.word()?)?, it.word()?, it.word()?);
        let (owner, group, size) = (it.word()?, it.word()?, it.long()?);
        let has = |bit| which & bit != 0;
        let mut time = |set, given| {
            let (seconds, nanoseconds) = (it.long()? as i64, it.long()? as i64);
            let nanoseconds = match () {
                () if !has(set) => libc::UTIME_OMIT,
                () if !has(given) => libc::UTIME_NOW,
                () if (0..1_000_000_000).contains(&nanoseconds) => nanoseconds,
                () => return Err(error(libc::EINVAL)),
            };
            Ok(libc::timespec { tv_sec: seconds, tv_nsec: nanoseconds })
        };
        let times = [time(SET_ACCESSED, ACCESSED_GIVEN)?, time(SET_MODIFIED, MODIFIED_GIVEN)?];
        let changes = Changes {
            mode: has(SET_MODE).then_some(mode),
            owner: has(SET_OWNER).then_some(owner),
            group: has(SET_GROUP).then_some(group),
            size: has(SET_SIZE).then_some(size),
            times: has(SET_ACCESSED | SET_MODIFIED).then_some(times),
        };
        self.folder.change(&fid.path, fid.open.as_ref(), &changes)
    }

    pub(super) fn file_system(&self, it: &mut Reader<'_>, out: &mut Writer) -> Done {
        let found = sys::file_system(&self.folder.at(self.path(it.word()?)?)?)?;
        out.word(found.f_type as u32);
        out.word(found.f_bsize as u32);
        for value in [found.f_blocks, found.f_bfree, found.f_bavail, found.f_files, found.f_ffree, 0] {
            out.long(value);
        }
        out.word(found.f_namelen as u32);
        Ok(())
    }

    // ---- locks: the guest's kernel keeps them, as between its own programs ------------------------

    pub(super) fn lock(&self, it: &mut Reader<'_>, out: &mut Writer) -> Done {
        let (fid, kind) = (it.word()?, it.byte()?);
        let (_flags, _start, _length, _process, _client) =
            (it.word()?, it.long()?, it.long()?, it.word()?, it.text()?);
        self.opened(fid)?;
        if kind >= LOCK_TYPES {
            return Err(error(libc::EINVAL));
        }
        out.byte(0); // granted
        Ok(())
    }

    pub(super) fn get_lock(&self, it: &mut Reader<'_>, out: &mut Writer) -> Done {
        let (fid, _kind, start, length) = (it.word()?, it.byte()?, it.long()?, it.long()?);
        let (process, client) = (it.word()?, it.text()?);
        self.opened(fid)?;
        out.byte(UNLOCKED);
        out.long(start);
        out.long(length);
        out.word(process);
        out.text(client)
    }
}

fn put_attributes(found: &Metadata, out: &mut Writer) {
    out.word(found.mode());
    out.word(found.uid());
    out.word(found.gid());
    let times = [
        (found.atime(), found.atime_nsec()),
        (found.mtime(), found.mtime_nsec()),
        (found.ctime(), found.ctime_nsec()),
        (0, 0),
    ];
    for value in [found.nlink(), found.rdev(), found.size(), found.blksize(), found.blocks()] {
        out.long(value);
    }
    for (seconds, nanoseconds) in times {
        out.long(seconds as u64);
        out.long(nanoseconds as u64);
    }
    out.long(0); // generation
    out.long(0); // version of the data
}

fn retried(call: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    let mut call = call;
    loop {
        match call() {
            Err(failed) if failed.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// One `struct linux_dirent64`.
struct HostEntry<'bytes> {
    inode: u64,
    /// Where the next one is.
    next: u64,
    kind: u8,
    name: &'bytes [u8],
}

impl<'bytes> HostEntry<'bytes> {
    fn take(bytes: &'bytes [u8]) -> Option<(Self, &'bytes [u8])> {
        let length = u16::from_le_bytes(bytes.get(16..18)?.try_into().ok()?);
        let (entry, rest) = bytes.split_at_checked(length.into())?;
        let name = entry.get(HOST_ENTRY_BYTES..)?.split(|&byte| byte == 0).next()?;
        let long =
            |at: usize| entry.get(at..at + 8).and_then(|bytes| bytes.try_into().ok()).map(u64::from_le_bytes);
        Some((Self { inode: long(0)?, next: long(8)?, kind: entry[18], name }, rest))
    }

    fn qid(&self) -> Qid {
        let kind = match self.kind {
            libc::DT_DIR => Qid::DIRECTORY,
            libc::DT_LNK => Qid::SYMLINK,
            _ => Qid::FILE,
        };
        Qid { kind, version: 0, path: self.inode }
    }
}
