//! A session in the middle of its guest's work, written down and begun again.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;

use innkeeper_bus::plain_struct;
use innkeeper_bus::state::{BadState, Bytes, Fields, Plain, Value, map};

use super::super::class::Saving;
use super::super::lock;
use super::P9;
use super::folder::Folder;
use super::session::{FIDS_LIMIT, Fid, MESSAGE_LEAST, MESSAGE_LIMIT, Session};

/// What has to be done again to have one.
struct Known {
    number: u32,
    path: Bytes,
    /// The flags that it is open with.
    open: Option<i32>,
}
plain_struct!(Known { number, path, open });

impl Saving for P9 {
    fn pause(&self) {
        self.workers.stop();
    }

    fn obstacle(&self) -> Option<String> {
        let kept = lock(&self.kept);
        let lost = kept.as_ref()?.fids().find(|(_, fid)| !is_there(&self.folder, fid))?;
        let name = String::from_utf8_lossy(&lost.1.path).into_owned();
        Some(format!(
            "its guest has {name:?} open, which was removed or replaced; have the guest close it, or unmount the folder"
        ))
    }

    fn state(&self) -> Value {
        let kept = lock(&self.kept);
        let Some(session) = kept.as_ref() else { return Value::Nothing };
        let mut known: Vec<Known> = session.fids().map(|(number, fid)| known(number, fid)).collect();
        known.sort_unstable_by_key(|fid| fid.number);
        map([("message_limit", session.message_limit.save()), ("fids", known.save())])
    }

    fn restore(&self, state: &Value) -> Result<(), BadState> {
        let session = match state {
            Value::Nothing => None,
            _ => Some(begun_again(&self.folder, state)?),
        };
        *lock(&self.kept) = session;
        Ok(())
    }
}

fn known(number: u32, fid: &Fid) -> Known {
    Known { number, path: Bytes(fid.path.clone()), open: fid.open.as_ref().map(|_| fid.flags) }
}

/// Whether opening its path would give what is open.
fn is_there(folder: &Folder, fid: &Fid) -> bool {
    let Some(open) = &fid.open else { return true };
    let here = folder.at(&fid.path).and_then(|object| object.metadata());
    matches!((here, open.metadata()), (Ok(here), Ok(open)) if (here.dev(), here.ino()) == (open.dev(), open.ino()))
}

fn begun_again(folder: &Arc<Folder>, state: &Value) -> Result<Session, BadState> {
    let mut fields = Fields::of(state)?;
    let message_limit: u32 = fields.take("message_limit")?;
    let known: Vec<Known> = fields.take("fids")?;
    fields.end()?;
    if message_limit != 0 && !(MESSAGE_LEAST..=MESSAGE_LIMIT).contains(&message_limit) {
        return Err(BadState::new(format!("message_limit is {message_limit}")));
    }
    if known.len() > FIDS_LIMIT {
        return Err(BadState::new(format!("{} fids, of {FIDS_LIMIT} that may be", known.len())));
    }
    let mut fids = HashMap::new();
    for Known { number, path: Bytes(path), open } in known {
        if path.len() >= libc::PATH_MAX as usize || path.contains(&0) {
            return Err(BadState::new("a path is none"));
        }
        let flags = open.unwrap_or_default() & !libc::O_TRUNC;
        let open = open.map(|_| folder.open_file(&path, flags)).transpose().map_err(|error| {
            let name = String::from_utf8_lossy(&path).into_owned();
            BadState::missing(format!("{name:?}, which its guest has open, cannot be opened again: {error}"))
        })?;
        if fids.insert(number, Fid { path, open, flags }).is_some() {
            return Err(BadState::new(format!("fid {number} is there twice")));
        }
    }
    Session::with(Arc::clone(folder), fids, message_limit)
        .ok_or_else(|| BadState::missing("more files are open than this process may have; raise its limit"))
}
