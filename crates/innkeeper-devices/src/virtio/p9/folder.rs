//! A folder of the host that a guest may use, and nothing outside of it.
//!
//! Files are named by paths of plain components from the folder on, which the kernel itself keeps below it
//! (`openat2` with RESOLVE_BENEATH and without links), whatever others rename meanwhile. Links are the guest's to follow.
//! New files belong to who runs the machine, with the host's umask; nothing is given to others, no set-user-ID program
//! and no device is made. Only files and directories are opened: devices, pipes and sockets live in the guest's kernel.

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use super::sys::{self, error};
use super::wire::Qid;

const PATH_LIMIT: usize = libc::PATH_MAX as usize;
const SET_USER: u32 = 0o4000;
const SET_GROUP: u32 = 0o2000;
/// What of a guest's open flags counts here. Direct I/O would ask for aligned buffers, which ours need not be.
const OPEN_FLAGS: i32 = libc::O_ACCMODE | libc::O_TRUNC | libc::O_APPEND | libc::O_SYNC | libc::O_DIRECTORY;
/// A pipe or terminal that took a file's place between two looks keeps nobody waiting.
const CAREFULLY: i32 = libc::O_NONBLOCK | libc::O_NOCTTY | libc::O_NOFOLLOW;

pub struct Folder {
    root: File,
    /// `/proc/self/fd`.
    entries: File,
    device: u64,
    read_only: bool,
}

/// What a driver asks to change of a file.
#[derive(Default)]
pub struct Changes {
    pub mode: Option<u32>,
    pub owner: Option<u32>,
    pub group: Option<u32>,
    pub size: Option<u64>,
    /// Of access and modification, as for `utimensat`.
    pub times: Option<[libc::timespec; 2]>,
}

impl Folder {
    /// # Errors
    /// It is no folder, or the host cannot keep a guest in it.
    pub fn open(path: &Path, read_only: bool) -> io::Result<Self> {
        let place = |path: &Path| {
            OpenOptions::new().read(true).custom_flags(libc::O_PATH | libc::O_DIRECTORY).open(path)
        };
        let (root, entries) = (place(path)?, place(Path::new("/proc/self/fd"))?);
        let device = root.metadata()?.dev();
        let folder = Self { root, entries, device, read_only };
        drop(folder.at(b"")?); // fails on a host without openat2
        Ok(folder)
    }

    /// # Errors
    /// The guest may only read.
    pub fn may_write(&self) -> io::Result<()> {
        if self.read_only { Err(error(libc::EROFS)) } else { Ok(()) }
    }

    /// What a path names, without opening it; a link is itself.
    pub fn at(&self, path: &[u8]) -> io::Result<File> {
        sys::open_beneath(&self.root, path, libc::O_PATH | libc::O_NOFOLLOW, 0)
    }

    fn directory(&self, path: &[u8]) -> io::Result<File> {
        sys::open_beneath(&self.root, path, libc::O_PATH | libc::O_NOFOLLOW | libc::O_DIRECTORY, 0)
    }

    pub fn qid(&self, metadata: &Metadata) -> Qid {
        let kind = metadata.file_type();
        let kind = match () {
            () if kind.is_dir() => Qid::DIRECTORY,
            () if kind.is_symlink() => Qid::SYMLINK,
            () => Qid::FILE,
        };
        // Files of other file systems, mounted within the folder, must not be taken for ours of the same number.
        let elsewhere = (metadata.dev() ^ self.device).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let version = (metadata.mtime() as u32) ^ (metadata.mtime_nsec() as u32).rotate_left(8);
        Qid { kind, version, path: metadata.ino() ^ elsewhere }
    }

    /// Opens a file or directory that is there.
    pub fn open_file(&self, path: &[u8], flags: i32) -> io::Result<File> {
        let flags = flags & OPEN_FLAGS;
        if flags & libc::O_ACCMODE != libc::O_RDONLY || flags & libc::O_TRUNC != 0 {
            self.may_write()?;
        }
        self.reopen(&self.at(path)?, flags)
    }

    fn reopen(&self, object: &File, flags: i32) -> io::Result<File> {
        let kind = object.metadata()?.file_type();
        if !kind.is_file() && !kind.is_dir() {
            return Err(error(if kind.is_symlink() { libc::ELOOP } else { libc::EOPNOTSUPP }));
        }
        sys::reopen(&self.entries, object, flags | CAREFULLY & !libc::O_NOFOLLOW)
    }

    /// Makes a file and opens it; one that is there is opened, unless the flags say that it must be new.
    pub fn create(&self, parent: &[u8], name: &[u8], flags: i32, mode: u32) -> io::Result<File> {
        self.may_write()?;
        if mode & (SET_USER | SET_GROUP) != 0 {
            return Err(error(libc::EPERM));
        }
        let parent = self.directory(parent)?;
        let new = flags & OPEN_FLAGS & !libc::O_DIRECTORY | libc::O_CREAT | libc::O_EXCL | CAREFULLY;
        match sys::open_beneath(&parent, name, new, mode & 0o777) {
            Err(failed) if failed.raw_os_error() == Some(libc::EEXIST) && flags & libc::O_EXCL == 0 => {
                let object = sys::open_beneath(&parent, name, libc::O_PATH | libc::O_NOFOLLOW, 0)?;
                self.reopen(&object, flags & OPEN_FLAGS)
            }
            result => result,
        }
    }

    pub fn make_directory(&self, parent: &[u8], name: &[u8], mode: u32) -> io::Result<Qid> {
        self.may_write()?;
        let parent = self.directory(parent)?;
        sys::make_directory(&parent, name, mode & 0o1777)?;
        self.entry(&parent, name)
    }

    pub fn make_symlink(&self, parent: &[u8], name: &[u8], target: &[u8]) -> io::Result<Qid> {
        self.may_write()?;
        let parent = self.directory(parent)?;
        sys::make_symlink(target, &parent, name)?;
        self.entry(&parent, name)
    }

    /// A pipe, a socket or an empty file.
    pub fn make_node(&self, parent: &[u8], name: &[u8], mode: u32) -> io::Result<Qid> {
        self.may_write()?;
        let kind = mode & libc::S_IFMT;
        if !matches!(kind, 0 | libc::S_IFREG | libc::S_IFIFO | libc::S_IFSOCK)
            || mode & (SET_USER | SET_GROUP) != 0
        {
            return Err(error(libc::EPERM));
        }
        let parent = self.directory(parent)?;
        sys::make_node(&parent, name, kind | mode & 0o777)?;
        self.entry(&parent, name)
    }

    fn entry(&self, parent: &File, name: &[u8]) -> io::Result<Qid> {
        let object = sys::open_beneath(parent, name, libc::O_PATH | libc::O_NOFOLLOW, 0)?;
        Ok(self.qid(&object.metadata()?))
    }

    pub fn link(&self, path: &[u8], parent: &[u8], name: &[u8]) -> io::Result<()> {
        self.may_write()?;
        sys::link(&self.entries, &self.at(path)?, &self.directory(parent)?, name)
    }

    pub fn unlink(&self, parent: &[u8], name: &[u8], directory: bool) -> io::Result<()> {
        self.may_write()?;
        sys::unlink(&self.directory(parent)?, name, directory)
    }

    pub fn rename(&self, from: &[u8], old: &[u8], to: &[u8], new: &[u8]) -> io::Result<()> {
        self.may_write()?;
        sys::rename(&self.directory(from)?, old, &self.directory(to)?, new)
    }

    /// Changes a file, of which `open` is open already if it is.
    pub fn change(&self, path: &[u8], open: Option<&File>, changes: &Changes) -> io::Result<()> {
        self.may_write()?;
        let object = open.map_or_else(|| self.at(path), File::try_clone)?;
        let now = object.metadata()?;
        let given = |wanted: Option<u32>, has| wanted.is_some_and(|wanted| wanted != has);
        if given(changes.owner, now.uid()) || given(changes.group, now.gid()) {
            return Err(error(libc::EPERM));
        }
        if let Some(mode) = changes.mode {
            let privileged = if now.is_dir() { SET_USER } else { SET_USER | SET_GROUP };
            if mode & privileged != 0 {
                return Err(error(libc::EPERM));
            }
            if now.is_symlink() {
                return Err(error(libc::EOPNOTSUPP));
            }
            sys::set_mode(&self.entries, &object, mode & 0o7777)?;
        }
        if let Some(size) = changes.size {
            self.reopen(&object, libc::O_WRONLY)?.set_len(size)?;
        }
        changes.times.as_ref().map_or(Ok(()), |times| sys::set_times(&self.entries, &object, times))
    }
}

/// The path of an entry of a directory.
///
/// # Errors
/// Longer than paths can be.
pub fn joined(parent: &[u8], name: &[u8]) -> io::Result<Vec<u8>> {
    if parent.len() + 1 + name.len() >= PATH_LIMIT {
        return Err(error(libc::ENAMETOOLONG));
    }
    Ok(if parent.is_empty() { name.to_vec() } else { [parent, b"/", name].concat() })
}

/// A path's directory and name; `None` for the folder itself.
pub fn split(path: &[u8]) -> Option<(&[u8], &[u8])> {
    if path.is_empty() {
        return None;
    }
    Some(path.iter().rposition(|&byte| byte == b'/').map_or((b"", path), |at| (&path[..at], &path[at + 1..])))
}
