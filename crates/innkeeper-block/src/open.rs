//! Opening an image by its path: options, format, and what lies below it.
//!
//! Names of backing files are QEMU's: relative to the folder of the image that names them, perhaps after
//! `file:`. Left out: QEMU's `json:` names and images on networks (refused by name).

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::Disk;
use crate::error::{Error, Result};
use crate::filter::{Filter, Rules};
use crate::medium::{HostFile, Medium, lock};
use crate::probe::{self, Guess};
use crate::qcow2::header::DIRTY;
use crate::qcow2::{Qcow2, Use, read_header};
use crate::raw::Raw;
use crate::tools::check::{Repair, check_medium};
use crate::tools::{Progress, ToolError};

/// Images in one chain.
const LONGEST_CHAIN: usize = 256;

/// What an image's bytes mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Raw,
    Qcow2,
}

impl Format {
    /// # Errors
    /// A sentence with the formats that there are.
    pub fn named(name: &str) -> Result<Self> {
        match name {
            "raw" => Ok(Self::Raw),
            "qcow2" => Ok(Self::Qcow2),
            _ => Err(Error::Refused(format!("format {name:?} is unknown, the formats are raw and qcow2"))),
        }
    }

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Qcow2 => "qcow2",
        }
    }
}

/// How an image is opened.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// `None`: find out.
    pub format: Option<Format>,
    pub read_only: bool,
    /// What lies below is not opened and reads as zeroes.
    pub without_backing: bool,
    /// Others may use the images: for a look at one in use.
    pub unlocked: bool,
    pub rules: Rules,
}

/// An open image.
pub struct Image {
    pub disk: Arc<dyn Disk>,
    pub format: Format,
    /// The same disk where it is qcow2, without what [`Rules`] make of it.
    pub qcow2: Option<Arc<Qcow2>>,
    /// From the image down.
    pub chain: Vec<PathBuf>,
    /// What whoever opened it should know, one sentence each.
    pub warnings: Vec<String>,
}

/// # Errors
/// One sentence: which file, what is wrong with it, and through which chain it was reached.
pub fn open(path: &Path, options: &Options) -> Result<Arc<dyn Disk>> {
    open_image(path, options).map(|image| image.disk)
}

/// [`open`] with all that there is to know.
///
/// # Errors
/// As for [`open`].
pub fn open_image(path: &Path, options: &Options) -> Result<Image> {
    let mut opener = Opener { options, chain: Vec::new(), warnings: Vec::new() };
    let (disk, format, qcow2) = opener.open(path, options.format, options.read_only)?;
    let guessed_raw = options.format.is_none() && format == Format::Raw && !disk.is_read_only();
    if guessed_raw {
        opener.warnings.push(format!(
            "{} is taken for raw because nothing else was recognised, so its guest cannot write an image format's \
             header to it; say format=raw if it is",
            path.display()
        ));
    }
    let rules = Rules { guessed_raw: guessed_raw || options.rules.guessed_raw, ..options.rules };
    Ok(Image {
        disk: Filter::around(disk, rules),
        format,
        qcow2,
        chain: opener.chain.into_iter().map(|link| link.path).collect(),
        warnings: opener.warnings,
    })
}

struct Link {
    path: PathBuf,
    /// Device and inode.
    identity: (u64, u64),
}

struct Opener<'a> {
    options: &'a Options,
    chain: Vec<Link>,
    warnings: Vec<String>,
}

type Opened = (Arc<dyn Disk>, Format, Option<Arc<Qcow2>>);

impl Opener<'_> {
    fn open(&mut self, path: &Path, format: Option<Format>, read_only: bool) -> Result<Opened> {
        let mut file = HostFile::open(path, read_only).map_err(|error| self.through(error, Some(path)))?;
        let metadata = file.file().metadata().map_err(Error::host(format!("open {}", path.display())))?;
        // A device node's own inode says nothing of the device.
        let device =
            if metadata.rdev() != 0 { (u64::MAX, metadata.rdev()) } else { (metadata.dev(), metadata.ino()) };
        let loops = self.chain.iter().any(|link| link.identity == device);
        self.chain.push(Link { path: path.into(), identity: device });
        if loops {
            return Err(Error::Corrupt(format!(
                "{}: the chain of backing files is a loop: {}",
                self.first(),
                self.shown()
            )));
        }
        if self.chain.len() > LONGEST_CHAIN {
            return Err(Error::Refused(format!(
                "{}: more than {LONGEST_CHAIN} images in its backing chain",
                self.first()
            )));
        }
        if !self.options.unlocked {
            self.lock(&file, !read_only)?;
        }
        if self.options.rules.cache.is_direct() {
            file.go_direct().map_err(|error| self.through(error, None))?;
        }
        let medium: Arc<dyn Medium> = Arc::new(file);
        let format = match format {
            Some(format) => format,
            None => self.guess(&*medium)?,
        };
        match format {
            Format::Raw => {
                Ok((Arc::new(Raw::open(medium).map_err(|error| self.through(error, None))?), format, None))
            }
            Format::Qcow2 => {
                let disk = Arc::new(self.open_qcow2(medium, path, read_only)?);
                Ok((Arc::clone(&disk) as _, format, Some(disk)))
            }
        }
    }

    fn open_qcow2(&mut self, medium: Arc<dyn Medium>, path: &Path, read_only: bool) -> Result<Qcow2> {
        let header = read_header(&*medium).map_err(|error| self.through(error, None))?;
        if header.incompatible & DIRTY != 0 && !read_only {
            self.count_anew(&medium)?;
        }
        let depth = self.chain.len();
        let backing = match &header.backing_file {
            Some(name) if !self.options.without_backing => {
                let below = resolve(path, name).map_err(|error| error.of(medium.name()))?;
                let format = self.backing_format(header.backing_format.as_deref(), medium.name(), &below)?;
                Some(self.open(&below, format, true)?.0)
            }
            _ => None,
        };
        let how = Use { read_only, unmap: !self.options.rules.ignore_discard };
        // Errors from here on are this image's own, not those of what was opened below.
        let through: Vec<Link> = self.chain.drain(depth..).collect();
        let disk = Qcow2::open(medium, backing, how).map_err(|error| self.through(error, None));
        self.chain.extend(through);
        disk
    }

    /// An image whose writer kept refcounts lazily, in memory, and ended before it wrote them.
    fn count_anew(&mut self, medium: &Arc<dyn Medium>) -> Result<()> {
        let found = check_medium(Arc::clone(medium), Some(Repair::All), &Progress::default());
        let found = found.map_err(|error| match error {
            ToolError::Image(error) => self.through(error, None),
            ToolError::Cancelled => Error::Refused("the repair was cancelled".into()),
        })?;
        let (name, fixed) = (medium.name(), found.corruptions_fixed + found.leaks_fixed);
        self.warnings.push(format!(
            "{name} was not closed by who wrote it last; {fixed} of its refcounts were repaired"
        ));
        Ok(())
    }

    fn backing_format(&mut self, named: Option<&str>, image: &str, below: &Path) -> Result<Option<Format>> {
        match named {
            Some(name) => Format::named(name).map(Some).map_err(|error| error.of(image)),
            None => {
                self.warnings.push(format!(
                    "{image} does not say what format its backing file {} has, it is guessed; record it with rebase",
                    below.display()
                ));
                Ok(None)
            }
        }
    }

    fn guess(&self, medium: &dyn Medium) -> Result<Format> {
        let mut start = [0; probe::LENGTH];
        let name = medium.name();
        medium.read_exact(0, &mut start).map_err(Error::host(format!("read {name}")))?;
        match probe::probe(&start) {
            Guess::Qcow2 => Ok(Format::Qcow2),
            Guess::Raw => Ok(Format::Raw),
            Guess::Foreign(kind) => {
                let error = Error::Unsupported(format!(
                    "{name} looks like a {kind} image, the formats are raw and qcow2: convert it, or say format=raw if it is"
                ));
                Err(self.through(error, None))
            }
        }
    }

    fn lock(&mut self, file: &HostFile, writes: bool) -> Result<()> {
        match lock::take(file.file(), file.name(), writes) {
            Err(Error::Host { source, .. }) if cannot_lock(&source) => {
                let name = file.name();
                self.warnings.push(format!(
                    "{name} is not locked against other writers, its file system has no locks: {source}"
                ));
                Ok(())
            }
            done => done.map_err(|error| self.through(error, None)),
        }
    }

    fn first(&self) -> String {
        self.chain.first().map(|link| link.path.display().to_string()).unwrap_or_default()
    }

    fn shown(&self) -> String {
        let names: Vec<String> = self.chain.iter().map(|link| link.path.display().to_string()).collect();
        names.join(" -> ")
    }

    /// Says how a file was reached, if not directly; `last` is not part of the chain yet.
    fn through(&self, error: Error, last: Option<&Path>) -> Error {
        if self.chain.len() + usize::from(last.is_some()) < 2 {
            return error;
        }
        let last = last.map(|path| format!(" -> {}", path.display())).unwrap_or_default();
        let add = |text: String| format!("{text} (backing chain: {}{last})", self.shown());
        match error {
            Error::Host { what, source } => Error::Host { what: add(what), source },
            Error::Corrupt(why) => Error::Corrupt(add(why)),
            Error::Unsupported(why) => Error::Unsupported(add(why)),
            Error::Refused(why) => Error::Refused(add(why)),
            Error::Busy(why) => Error::Busy(add(why)),
        }
    }
}

fn cannot_lock(error: &std::io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOLCK | libc::EINVAL | libc::EOPNOTSUPP | libc::ENOSYS))
}

/// Where a backing file is that an image names.
///
/// # Errors
/// The name is not that of a file.
pub fn resolve(image: &Path, name: &str) -> Result<PathBuf> {
    let name = name.strip_prefix("file:").unwrap_or(name);
    let scheme = name.split_once(':').map(|(scheme, _)| scheme).filter(|scheme| {
        !scheme.is_empty()
            && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
    });
    if let Some(scheme) = scheme {
        return Err(Error::Unsupported(format!(
            "its backing file {name:?} is named by {scheme}:, backing files are files of this host"
        )));
    }
    if name.is_empty() {
        return Err(Error::Corrupt("its backing file has no name".into()));
    }
    Ok(image.parent().unwrap_or(Path::new("")).join(name))
}
