//! A 9P session: fids, and what each message does to them.
//!
//! Spec: 9P2000 (Plan 9's intro(5)) with the messages of 9P2000.L (diod's protocol notes, linux/net/9p/9p.h). One
//! message is answered after the other. A fid is a path in the folder, and what was opened by it if it was.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::sync::Arc;

use super::folder::{Folder, joined, split};
use super::sys::{self, error};
use super::wire::{ERROR_BYTES, HEADER, Qid, Reader, Writer, plain};

/// The largest message, and the largest that one is sure to be understood with.
pub const MESSAGE_LIMIT: u32 = 512 << 10;
pub const MESSAGE_LEAST: u32 = 4096;
const VERSION: &[u8] = b"9P2000.L";
pub const FIDS_LIMIT: usize = 16 << 10;
/// Of the descriptors that this process may have, a guest gets a part.
const OPEN_SHARE: usize = 4;
const OPEN_LIMIT: usize = 4096;
const WALK_LIMIT: u16 = 16;
const ERROR: u8 = 7;

#[derive(Default)]
pub struct Fid {
    pub path: Vec<u8>,
    pub open: Option<File>,
    /// That it was opened with, and would be again: no file is made or emptied a second time.
    pub flags: i32,
}

pub struct Session {
    pub folder: Arc<Folder>,
    fids: HashMap<u32, Fid>,
    opened: usize,
    open_limit: usize,
    /// None is negotiated as long as it is 0.
    pub message_limit: u32,
}

type Done = io::Result<()>;

impl Session {
    pub fn new(folder: Arc<Folder>) -> Self {
        let open_limit = (sys::descriptors() / OPEN_SHARE).clamp(1, OPEN_LIMIT);
        Self { folder, fids: HashMap::new(), opened: 0, open_limit, message_limit: 0 }
    }

    /// One that goes on with these; `None` if more are open than may be.
    pub fn with(folder: Arc<Folder>, fids: HashMap<u32, Fid>, message_limit: u32) -> Option<Self> {
        let opened = fids.values().filter(|fid| fid.open.is_some()).count();
        let session = Self { fids, opened, message_limit, ..Self::new(folder) };
        (opened <= session.open_limit).then_some(session)
    }

    pub fn fids(&self) -> impl Iterator<Item = (u32, &Fid)> {
        self.fids.iter().map(|(number, fid)| (*number, fid))
    }

    /// The answer to a message, of at most `room` bytes; `None` if either is too short for anything.
    pub fn answer(&mut self, message: &[u8], room: usize) -> Option<Vec<u8>> {
        if message.len() < HEADER || room < ERROR_BYTES {
            return None;
        }
        let (kind, tag) = (message[4], [message[5], message[6]]);
        let mut writer = Writer::default();
        writer.bytes.extend([0, 0, 0, 0, kind.wrapping_add(1), tag[0], tag[1]]);
        let size = u32::from_le_bytes([message[0], message[1], message[2], message[3]]) as usize;
        let result = match message.get(HEADER..size) {
            Some(body) => self.dispatch(kind, &mut Reader::new(body), &mut writer, room),
            None => Err(error(libc::EBADMSG)),
        };
        let failed = match result {
            Ok(()) if writer.bytes.len() <= room => None,
            Ok(()) => Some(libc::EMSGSIZE),
            Err(failed) => Some(failed.raw_os_error().unwrap_or(libc::EIO)),
        };
        if let Some(number) = failed {
            writer.bytes.truncate(HEADER);
            writer.bytes[4] = ERROR;
            writer.word(number as u32);
        }
        let size = writer.bytes.len() as u32;
        writer.bytes[..4].copy_from_slice(&size.to_le_bytes());
        Some(writer.bytes)
    }

    fn dispatch(&mut self, kind: u8, it: &mut Reader<'_>, out: &mut Writer, room: usize) -> Done {
        if kind != 100 && self.message_limit == 0 {
            return Err(error(libc::EPROTO));
        }
        let room = room.min(self.message_limit as usize);
        match kind {
            8 => self.file_system(it, out),
            12 => self.open(it, out),
            14 => self.create(it, out),
            16 => self.make_symlink(it, out),
            18 => self.make_node(it, out),
            20 => self.rename(it),
            22 => self.read_link(it, out),
            24 => self.attributes(it, out),
            26 => self.set_attributes(it),
            40 => self.read_directory(it, out, room),
            50 => self.synchronize(it),
            52 => self.lock(it, out),
            54 => self.get_lock(it, out),
            70 => self.link(it),
            72 => self.make_directory(it, out),
            74 => self.rename_at(it),
            76 => self.unlink_at(it),
            100 => self.version(it, out),
            104 => self.attach(it, out),
            108 => it.half().map(drop), // what it would cancel is answered already
            110 => self.walk(it, out),
            116 => self.read(it, out, room),
            118 => self.write(it, out),
            120 => self.clunk(it),
            122 => self.remove(it),
            // Authentication (102) and extended attributes (30, 32) are among those.
            _ => Err(error(libc::EOPNOTSUPP)),
        }
    }

    // ---- fids -----------------------------------------------------------------------------------

    pub fn fid(&self, number: u32) -> io::Result<&Fid> {
        self.fids.get(&number).ok_or_else(|| error(libc::EBADF))
    }

    pub fn path(&self, number: u32) -> io::Result<&[u8]> {
        self.fid(number).map(|fid| &fid.path[..])
    }

    pub fn opened(&self, number: u32) -> io::Result<&File> {
        self.fid(number)?.open.as_ref().ok_or_else(|| error(libc::EBADF))
    }

    fn add(&mut self, number: u32, path: Vec<u8>) -> Done {
        if self.fids.contains_key(&number) {
            return Err(error(libc::EBADF));
        }
        if self.fids.len() >= FIDS_LIMIT {
            return Err(error(libc::ENFILE));
        }
        self.fids.insert(number, Fid { path, ..Fid::default() });
        Ok(())
    }

    fn forget(&mut self, number: u32) -> io::Result<Fid> {
        let fid = self.fids.remove(&number).ok_or_else(|| error(libc::EBADF))?;
        self.opened -= usize::from(fid.open.is_some());
        Ok(fid)
    }

    /// # Errors
    /// The fid is open, or too many are.
    pub fn may_open(&self, number: u32) -> Done {
        if self.fid(number)?.open.is_some() {
            return Err(error(libc::EBADF));
        }
        if self.opened < self.open_limit { Ok(()) } else { Err(error(libc::EMFILE)) }
    }

    /// After [`Self::may_open`].
    pub fn set_open(&mut self, number: u32, path: Vec<u8>, file: File, flags: i32) {
        self.opened += 1;
        let flags = flags & !(libc::O_CREAT | libc::O_EXCL | libc::O_TRUNC);
        self.fids.insert(number, Fid { path, open: Some(file), flags });
    }

    /// Fids follow what they stand for to its new name.
    pub fn moved(&mut self, old: &[u8], new: &[u8]) {
        for fid in self.fids.values_mut() {
            if let Some(rest) = fid.path.strip_prefix(old)
                && (rest.is_empty() || rest[0] == b'/')
                && new.len() + rest.len() < libc::PATH_MAX as usize
            {
                fid.path = [new, rest].concat();
            }
        }
    }

    // ---- sessions and walks ---------------------------------------------------------------------

    fn version(&mut self, it: &mut Reader<'_>, out: &mut Writer) -> Done {
        let (limit, version) = (it.word()?, it.text()?);
        self.fids.clear();
        (self.opened, self.message_limit) = (0, 0);
        if limit < MESSAGE_LEAST {
            return Err(error(libc::EMSGSIZE));
        }
        let limit = limit.min(MESSAGE_LIMIT);
        out.word(limit);
        if version != VERSION {
            return out.text(b"unknown");
        }
        self.message_limit = limit;
        out.text(VERSION)
    }

    fn attach(&mut self, it: &mut Reader<'_>, out: &mut Writer) -> Done {
        let (fid, _authentication, _user, _tree, _uid) =
            (it.word()?, it.word()?, it.text()?, it.text()?, it.word()?);
        let qid = self.qid(b"")?;
        self.add(fid, Vec::new())?;
        out.qid(qid);
        Ok(())
    }

    fn qid(&self, path: &[u8]) -> io::Result<Qid> {
        Ok(self.folder.qid(&self.folder.at(path)?.metadata()?))
    }

    fn walk(&mut self, it: &mut Reader<'_>, out: &mut Writer) -> Done {
        let (from, to, count) = (it.word()?, it.word()?, it.half()?);
        if count > WALK_LIMIT {
            return Err(error(libc::EINVAL));
        }
        let mut path = self.path(from)?.to_vec();
        let mut qids = Vec::new();
        for _ in 0..count {
            match self.step(&path, it) {
                Ok((next, qid)) => {
                    path = next;
                    qids.push(qid);
                }
                Err(failed) if qids.is_empty() => return Err(failed),
                Err(_) => break, // as the protocol has it: the answer is shorter than the question
            }
        }
        if qids.len() == usize::from(count) {
            if to == from {
                if self.fid(from)?.open.is_some() {
                    return Err(error(libc::EBADF));
                }
                self.fids.remove(&from);
            }
            self.add(to, path)?;
        }
        out.half(qids.len() as u16);
        qids.into_iter().for_each(|qid| out.qid(qid));
        Ok(())
    }

    fn step(&self, path: &[u8], it: &mut Reader<'_>) -> io::Result<(Vec<u8>, Qid)> {
        let next = match it.text()? {
            b".." => split(path).map_or_else(Vec::new, |(parent, _)| parent.to_vec()),
            name => joined(path, plain(name)?)?,
        };
        let qid = self.qid(&next)?;
        Ok((next, qid))
    }

    fn clunk(&mut self, it: &mut Reader<'_>) -> Done {
        self.forget(it.word()?).map(drop)
    }

    /// Removes, and lets the fid go even if that fails.
    fn remove(&mut self, it: &mut Reader<'_>) -> Done {
        let fid = self.forget(it.word()?)?;
        let (parent, name) = split(&fid.path).ok_or_else(|| error(libc::EBUSY))?;
        let directory = self.folder.at(&fid.path)?.metadata()?.is_dir();
        self.folder.unlink(parent, name, directory)
    }
}
