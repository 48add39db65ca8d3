//! A file that gets its name only when it is whole.
//!
//! Where the host's file system can (open(2), `O_TMPFILE`) the file has no name at all until then, and a killed tool
//! leaves nothing; elsewhere it has a hidden one beside the final name, which only a kill leaves behind.

use std::ffi::CString;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::layer::take_lock;
use super::{Result, ToolError};
use crate::medium::HostFile;

static COUNT: AtomicU32 = AtomicU32::new(0);

pub struct Staged {
    medium: Arc<HostFile>,
    /// Where it shall be: never a symbolic link.
    target: PathBuf,
    /// As the user named it.
    named: PathBuf,
    /// The name it has meanwhile, if any.
    meanwhile: Option<PathBuf>,
    /// A device is written where it is.
    device: bool,
    /// What has the name now, locked.
    _replaced: Option<HostFile>,
}

impl Staged {
    /// An empty file that will replace `path`, or the block device there.
    ///
    /// # Errors
    /// If the folder is missing or cannot be written to, or if `path` is something that is no image.
    pub fn new(path: &Path) -> Result<Self> {
        let target = follow(path)?;
        match fs::metadata(&target) {
            Ok(there) if there.file_type().is_block_device() => return Self::on_device(path, target),
            Ok(there) if !there.is_file() => {
                return Err(ToolError::path(path, "is there and is no file; give the image another name"));
            }
            Ok(_) | Err(_) => {}
        }
        let replaced = match HostFile::open(&target, true) {
            Ok(old) => {
                take_lock(&old, true)?;
                Some(old)
            }
            Err(_) => None, // nothing there, or nothing that we may look at: then nobody of ours has it open either
        };
        let directory = folder(&target);
        let unnamed = OpenOptions::new()
            .read(true)
            .write(true)
            .mode(0o666)
            .custom_flags(libc::O_TMPFILE | libc::O_CLOEXEC)
            .open(directory);
        let (file, meanwhile) = match unnamed {
            Ok(file) => (file, None),
            Err(error) if unsupported(&error) => {
                let name = hidden(&target);
                let file = OpenOptions::new()
                    .read(true)
                    .write(true)
                    .create_new(true)
                    .open(&name)
                    .map_err(ToolError::host("create", path.display()))?;
                (file, Some(name))
            }
            Err(error) => return Err(ToolError::host("create", path.display())(error)),
        };
        let medium = Arc::new(HostFile::of(file, path, false)?);
        Ok(Self { medium, target, named: path.into(), meanwhile, device: false, _replaced: replaced })
    }

    fn on_device(path: &Path, target: PathBuf) -> Result<Self> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(libc::O_EXCL)
            .open(&target)
            .map_err(ToolError::host("open", path.display()))?;
        let medium = Arc::new(HostFile::of(file, path, false)?);
        take_lock(&medium, true)?;
        Ok(Self { medium, target, named: path.into(), meanwhile: None, device: true, _replaced: None })
    }

    pub fn medium(&self) -> Arc<HostFile> {
        Arc::clone(&self.medium)
    }

    pub fn is_device(&self) -> bool {
        self.device
    }

    /// Makes it durable and gives it its name, in place of whatever has it now.
    ///
    /// # Errors
    /// What the host answered; then the name leads where it led before.
    pub fn publish(mut self) -> Result<()> {
        self.medium.file().sync_all().map_err(ToolError::host("write", self.named.display()))?;
        if self.device {
            return Ok(());
        }
        self.name_it().map_err(ToolError::host("create", self.named.display()))?;
        self.meanwhile = None;
        let directory = File::open(folder(&self.target));
        directory.and_then(|folder| folder.sync_all()).map_err(ToolError::host("write", self.named.display()))
    }

    fn name_it(&mut self) -> io::Result<()> {
        if let Ok(old) = fs::metadata(&self.target) {
            self.medium.file().set_permissions(Permissions::from_mode(old.permissions().mode() & 0o777))?;
        }
        if self.meanwhile.is_none() {
            match link(self.medium.file(), &self.target) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                other => return other,
            }
            let name = hidden(&self.target);
            link(self.medium.file(), &name)?;
            self.meanwhile = Some(name);
        }
        self.meanwhile.as_ref().map_or(Ok(()), |name| fs::rename(name, &self.target))
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if let Some(name) = &self.meanwhile {
            // There is nobody left to tell; what stays is hidden, and its name says what it is.
            let _ = fs::remove_file(name);
        }
    }
}

/// Where `path` leads: an image behind a symbolic link is replaced, not the link.
fn follow(path: &Path) -> Result<PathBuf> {
    if path.file_name().is_none() {
        return Err(ToolError::path(path, "is no file's name"));
    }
    let mut at = path.to_path_buf();
    for _ in 0..40 {
        match fs::read_link(&at) {
            Ok(to) => at = folder(&at).join(to),
            Err(_) => return Ok(at),
        }
    }
    Err(ToolError::path(path, "leads through too many symbolic links"))
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn hidden(target: &Path) -> PathBuf {
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    target.with_file_name(format!(".{name}.unfinished-{}-{count}", process::id()))
}

/// What open(2) says where `O_TMPFILE` is unknown: to the kernel, or to the file system.
fn unsupported(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EOPNOTSUPP | libc::EISDIR | libc::EINVAL))
}

/// Gives an unnamed file a name (open(2) describes this way).
fn link(file: &File, name: &Path) -> io::Result<()> {
    let from = CString::new(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
    let to = CString::new(name.as_os_str().as_bytes())?;
    // SAFETY: both strings end with a zero and live through the call.
    let answer = unsafe {
        libc::linkat(libc::AT_FDCWD, from.as_ptr(), libc::AT_FDCWD, to.as_ptr(), libc::AT_SYMLINK_FOLLOW)
    };
    if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
