use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Instant;

use super::wire::{Qid, Reader, Writer};
use super::*;
use crate::virtio::hostile::Random;
use crate::virtio::testing::{BUFFERS, Driver, readable, writable};
use innkeeper_bus::state::{BadState, Bytes, Plain, Value, map};

static FOLDERS: AtomicU32 = AtomicU32::new(0);

/// A folder `inside` with something next to it that nobody may reach.
struct Place(PathBuf);

impl Place {
    fn new() -> Self {
        let number = FOLDERS.fetch_add(1, Ordering::SeqCst);
        let place = std::env::temp_dir().join(format!("innkeeper-9p-{}-{number}", std::process::id()));
        fs::create_dir_all(place.join("inside")).unwrap();
        fs::create_dir(place.join("outside")).unwrap();
        fs::write(place.join("outside/secret"), "secret").unwrap();
        Self(place)
    }

    fn inside(&self, name: &str) -> PathBuf {
        self.0.join("inside").join(name)
    }

    fn folder(&self, read_only: bool) -> Folder {
        Folder::open(&self.0.join("inside"), read_only).unwrap()
    }

    /// A client that has attached fid 0.
    fn client(&self, read_only: bool) -> Client {
        let mut client = Client(Session::new(Arc::new(self.folder(read_only))));
        client
            .ask(100, |it| {
                it.word(65536);
                it.text(b"9P2000.L").unwrap();
            })
            .unwrap();
        client
            .ask(104, |it| {
                it.word(0);
                it.word(u32::MAX);
                it.text(b"root").unwrap();
                it.text(b"").unwrap();
                it.word(0);
            })
            .unwrap();
        client
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        unlock(&self.0);
        fs::remove_dir_all(&self.0).unwrap();
    }
}

/// Takes back the rights that a guest took from us.
fn unlock(folder: &Path) {
    fs::set_permissions(folder, fs::Permissions::from_mode(0o700)).unwrap();
    for entry in fs::read_dir(folder).unwrap().flatten() {
        if entry.file_type().unwrap().is_dir() {
            unlock(&entry.path());
        }
    }
}

struct Client(Session);

impl Client {
    /// The body of the answer, or the error's number.
    fn ask(&mut self, kind: u8, body: impl FnOnce(&mut Writer)) -> Result<Vec<u8>, i32> {
        let mut it = Writer::default();
        it.bytes.extend([0, 0, 0, 0, kind, 7, 0]);
        body(&mut it);
        let size = it.bytes.len() as u32;
        it.bytes[..4].copy_from_slice(&size.to_le_bytes());
        let answer = self.0.answer(&it.bytes, 65536).unwrap();
        assert_eq!(answer.len() as u32, u32::from_le_bytes(answer[..4].try_into().unwrap()));
        assert_eq!(answer[5..7], [7, 0]);
        if answer[4] == 7 {
            return Err(i32::from_le_bytes(answer[7..].try_into().unwrap()));
        }
        assert_eq!(answer[4], kind + 1);
        Ok(answer[7..].to_vec())
    }

    /// Walks from fid 0; gives how many names were found.
    fn walk(&mut self, fid: u32, names: &[&[u8]]) -> Result<u16, i32> {
        let answer = self.ask(110, |it| {
            it.word(0);
            it.word(fid);
            it.half(names.len() as u16);
            names.iter().for_each(|name| it.text(name).unwrap());
        })?;
        Ok(u16::from_le_bytes([answer[0], answer[1]]))
    }

    fn open(&mut self, fid: u32, flags: i32) -> Result<Vec<u8>, i32> {
        self.ask(12, |it| {
            it.word(fid);
            it.word(flags as u32);
        })
    }

    fn create(&mut self, fid: u32, name: &[u8], flags: i32, mode: u32) -> Result<Vec<u8>, i32> {
        self.ask(14, |it| {
            it.word(fid);
            it.text(name).unwrap();
            it.word(flags as u32);
            it.word(mode);
            it.word(0);
        })
    }

    fn read(&mut self, kind: u8, fid: u32, offset: u64, count: u32) -> Result<Vec<u8>, i32> {
        let answer = self.ask(kind, |it| {
            it.word(fid);
            it.long(offset);
            it.word(count);
        })?;
        assert_eq!(answer.len() as u32 - 4, u32::from_le_bytes(answer[..4].try_into().unwrap()));
        Ok(answer[4..].to_vec())
    }

    fn write(&mut self, fid: u32, offset: u64, data: &[u8]) -> Result<Vec<u8>, i32> {
        self.ask(118, |it| {
            it.word(fid);
            it.long(offset);
            it.word(data.len() as u32);
            it.bytes.extend(data);
        })
    }

    fn clunk(&mut self, fid: u32) -> Result<Vec<u8>, i32> {
        self.ask(120, |it| it.word(fid))
    }

    /// Changes attributes: which, mode, owner, size.
    fn change(&mut self, fid: u32, which: u32, mode: u32, owner: u32, size: u64) -> Result<Vec<u8>, i32> {
        self.ask(26, |it| {
            it.word(fid);
            it.word(which);
            it.word(mode);
            it.word(owner);
            it.word(0);
            it.long(size);
            (0..4).for_each(|time| it.long(1000 + time));
        })
    }

    /// Fid, name, and numbers after it.
    fn named(&mut self, kind: u8, fid: u32, name: &[u8], words: &[u32]) -> Result<Vec<u8>, i32> {
        self.ask(kind, |it| {
            it.word(fid);
            it.text(name).unwrap();
            words.iter().for_each(|&word| it.word(word));
        })
    }

    fn rename(&mut self, from: u32, old: &[u8], to: u32, new: &[u8]) -> Result<Vec<u8>, i32> {
        self.ask(74, |it| {
            it.word(from);
            it.text(old).unwrap();
            it.word(to);
            it.text(new).unwrap();
        })
    }

    fn names(&mut self, fid: u32, count: u32) -> Vec<String> {
        let (mut names, mut offset) = (Vec::new(), 0);
        loop {
            let data = self.read(40, fid, offset, count).unwrap();
            let mut it = Reader::new(&data);
            if data.is_empty() {
                names.sort();
                return names;
            }
            while it.bytes(Qid::BYTES).is_ok() {
                offset = it.long().unwrap();
                it.byte().unwrap();
                names.push(String::from_utf8(it.text().unwrap().to_vec()).unwrap());
            }
        }
    }
}

#[test]
fn files_are_made_written_read_and_listed() {
    let place = Place::new();
    let mut client = place.client(false);
    client.named(72, 0, b"d", &[0o755, 0]).unwrap();
    assert_eq!(client.walk(1, &[b"d"]), Ok(1));
    client.create(1, b"f", libc::O_RDWR | libc::O_CREAT | libc::O_EXCL, 0o640).unwrap();
    assert_eq!(client.write(1, 3, b"hello").unwrap(), [5, 0, 0, 0]);
    assert_eq!(client.read(116, 1, 1, 1 << 30).unwrap(), b"\0\0hello");
    assert_eq!(fs::read(place.inside("d/f")).unwrap(), b"\0\0\0hello");
    assert_eq!(fs::metadata(place.inside("d/f")).unwrap().permissions().mode() & 0o7777 & !0o640, 0);
    client.ask(50, |it| it.word(1)).unwrap();
    (0..300).for_each(|n| fs::write(place.inside(&format!("d/{n:03}")), "").unwrap());
    assert_eq!(client.walk(2, &[b"d"]), Ok(1));
    client.open(2, libc::O_RDONLY | libc::O_DIRECTORY).unwrap();
    for count in [300, 4096, 1 << 20] {
        let names = client.names(2, count);
        assert_eq!(names.len(), 303);
        assert!(names.contains(&"299".into()) && names.contains(&"f".into()));
    }
    assert_eq!(client.read(40, 2, 0, 10), Err(libc::EINVAL));
    client.clunk(1).unwrap();
    assert_eq!(client.read(116, 1, 0, 10), Err(libc::EBADF));
}

#[test]
fn names_move_and_fids_follow_them() {
    let place = Place::new();
    fs::create_dir_all(place.inside("a/b")).unwrap();
    fs::write(place.inside("a/b/f"), "text").unwrap();
    let mut client = place.client(false);
    assert_eq!(client.walk(1, &[b"a", b"b", b"f"]), Ok(3));
    client.rename(0, b"a", 0, b"z").unwrap();
    client.open(1, libc::O_RDONLY).unwrap();
    assert_eq!(client.read(116, 1, 0, 100).unwrap(), b"text");
    client.named(16, 0, b"link", &[]).unwrap_err();
    client
        .ask(16, |it| {
            it.word(0);
            it.text(b"link").unwrap();
            it.text(b"z/b/f").unwrap();
            it.word(0);
        })
        .unwrap();
    assert_eq!(client.walk(2, &[b"link"]), Ok(1));
    assert_eq!(client.ask(22, |it| it.word(2)).unwrap(), [&[5, 0], &b"z/b/f"[..]].concat());
    client
        .ask(70, |it| {
            it.word(0);
            it.word(1);
            it.text(b"hard").unwrap();
        })
        .unwrap();
    assert_eq!(fs::metadata(place.inside("hard")).unwrap().nlink(), 2);
    client.named(76, 0, b"hard", &[0]).unwrap();
    assert_eq!(client.named(76, 0, b"z", &[0]), Err(libc::EISDIR));
    assert_eq!(client.named(76, 0, b"z", &[0x200]), Err(libc::ENOTEMPTY));
    client.ask(122, |it| it.word(2)).unwrap();
    assert!(!place.inside("link").is_symlink());
}

#[test]
fn nothing_leads_out_of_the_folder() {
    let place = Place::new();
    symlink("../outside", place.inside("way")).unwrap();
    symlink(place.0.join("outside/secret"), place.inside("file")).unwrap();
    fs::create_dir(place.inside("d")).unwrap();
    let mut client = place.client(false);
    assert_eq!(client.walk(1, &[b"..", b"..", b"outside"]), Ok(2)); // the folder is its own parent
    assert_eq!(client.walk(1, &[b"d", b"..", b"..", b"outside"]), Ok(3));
    assert_eq!(client.walk(1, &[b"way", b"secret"]), Ok(1)); // a link is an end
    for name in [&b"../outside"[..], b"/etc", b"d/../../outside", b"", b".", b"a\0b"] {
        assert_eq!(client.walk(1, &[name]), Err(libc::EINVAL), "{name:?}");
        assert_eq!(client.named(72, 0, name, &[0o755, 0]), Err(libc::EINVAL), "{name:?}");
    }
    assert_eq!(client.rename(0, b"d", 0, b".."), Err(libc::EINVAL));
    assert_eq!(client.walk(1, &[b"file"]), Ok(1));
    assert_eq!(client.open(1, libc::O_RDONLY), Err(libc::ELOOP));
    assert_eq!(client.change(1, 8, 0, 0, 0), Err(libc::ELOOP));
    assert_eq!(client.change(1, 1, 0o777, 0, 0), Err(libc::EOPNOTSUPP));
    assert_eq!(client.walk(2, &[b"way"]), Ok(1));
    assert_eq!(client.create(2, b"new", libc::O_WRONLY, 0o644), Err(libc::ENOTDIR));
    assert_eq!(client.walk(3, &[]), Ok(0));
    assert_eq!(client.create(3, b"file", libc::O_WRONLY | libc::O_TRUNC, 0o644), Err(libc::ELOOP));
    // What was a folder when the guest walked there is a link out when it goes on.
    assert_eq!(client.walk(4, &[b"d"]), Ok(1));
    fs::remove_dir(place.inside("d")).unwrap();
    symlink("../outside", place.inside("d")).unwrap();
    assert!(client.create(4, b"new", libc::O_WRONLY, 0o644).is_err());
    assert!(client.named(76, 4, b"secret", &[0]).is_err());
    assert_eq!(fs::read_dir(place.0.join("outside")).unwrap().count(), 1);
    assert_eq!(fs::read(place.0.join("outside/secret")).unwrap(), b"secret");
}

#[test]
fn a_folder_that_becomes_a_link_in_a_race_leads_nowhere() {
    let place = Place::new();
    fs::create_dir(place.inside("d")).unwrap();
    fs::write(place.inside("d/secret"), "public").unwrap();
    symlink("../outside", place.inside("way")).unwrap();
    let (d, e, way) = (place.inside("d"), place.inside("e"), place.inside("way"));
    let over = Arc::new(AtomicBool::new(false));
    let its = Arc::clone(&over);
    let swaps = std::thread::spawn(move || {
        while !its.load(Ordering::SeqCst) {
            for (from, to) in [(&d, &e), (&way, &d), (&d, &way), (&e, &d)] {
                fs::rename(from, to).unwrap();
            }
        }
    });
    let (mut client, mut read, mut lost) = (place.client(false), 0, 0);
    let end = Instant::now() + Duration::from_secs(20);
    for round in 1.. {
        let found = client.walk(round, &[b"d", b"secret"]) == Ok(2);
        if found && client.open(round, libc::O_RDWR).is_ok() {
            assert_eq!(client.read(116, round, 0, 100).unwrap(), b"public");
            read += 1;
        } else {
            lost += 1;
        }
        let _ = client.clunk(round); // which is not there if the walk was lost
        if client.walk(round, &[b"d"]) == Ok(1) {
            let _ = client.create(round, b"new", libc::O_RDWR, 0o644); // may be lost as well
            client.clunk(round).unwrap();
        }
        if read > 300 && lost > 300 || Instant::now() > end {
            break;
        }
    }
    over.store(true, Ordering::SeqCst);
    swaps.join().unwrap();
    assert!(read > 0 && lost > 0, "no race: {read} read, {lost} lost");
    assert_eq!(fs::read_dir(place.0.join("outside")).unwrap().count(), 1);
}

#[test]
fn no_device_no_privilege_and_no_waiting() {
    let place = Place::new();
    let mut client = place.client(false);
    for kind in [libc::S_IFCHR, libc::S_IFBLK, libc::S_IFREG | 0o4000] {
        assert_eq!(client.named(18, 0, b"n", &[kind | 0o666, 1, 3, 0]), Err(libc::EPERM));
    }
    client.named(18, 0, b"pipe", &[libc::S_IFIFO | 0o666, 0, 0, 0]).unwrap();
    assert_eq!(client.walk(1, &[b"pipe"]), Ok(1));
    assert_eq!(client.open(1, libc::O_RDONLY), Err(libc::EOPNOTSUPP));
    assert_eq!(client.create(0, b"f", libc::O_WRONLY, 0o4755), Err(libc::EPERM));
    fs::write(place.inside("f"), "text").unwrap();
    assert_eq!(client.walk(2, &[b"f"]), Ok(1));
    let owner = fs::metadata(place.inside("f")).unwrap().uid();
    assert_eq!(client.change(2, 1, 0o4755, 0, 0), Err(libc::EPERM));
    assert_eq!(client.change(2, 2, 0, owner + 1, 0), Err(libc::EPERM));
    client.change(2, 1 | 2 | 8 | 0x1B0, 0o600, owner, 2).unwrap();
    let found = fs::metadata(place.inside("f")).unwrap();
    assert_eq!((found.mode() & 0o7777, found.len(), found.atime(), found.mtime()), (0o600, 2, 1000, 1002));
}

#[test]
fn a_read_only_folder_is_not_written() {
    let place = Place::new();
    fs::write(place.inside("f"), "text").unwrap();
    let mut client = place.client(true);
    assert_eq!(client.walk(1, &[b"f"]), Ok(1));
    for flags in [libc::O_WRONLY, libc::O_RDWR, libc::O_TRUNC] {
        assert_eq!(client.open(1, flags), Err(libc::EROFS));
    }
    assert_eq!(client.change(1, 8, 0, 0, 0), Err(libc::EROFS));
    client.open(1, libc::O_RDONLY).unwrap();
    assert_eq!(client.write(1, 0, b"x"), Err(libc::EROFS));
    assert_eq!(client.create(0, b"n", libc::O_WRONLY, 0o644), Err(libc::EROFS));
    assert_eq!(client.named(72, 0, b"n", &[0o755, 0]), Err(libc::EROFS));
    assert_eq!(client.named(76, 0, b"f", &[0]), Err(libc::EROFS));
    assert_eq!(client.rename(0, b"f", 0, b"g"), Err(libc::EROFS));
    assert_eq!(client.read(116, 1, 0, 9).unwrap(), b"text");
}

#[test]
fn fids_and_open_files_are_limited() {
    let place = Place::new();
    let mut client = place.client(false);
    let failed = (1..20_000).find_map(|fid| client.walk(fid, &[]).err());
    assert_eq!(failed, Some(libc::ENFILE));
    let failed = (1..10_000).find_map(|fid| client.open(fid, libc::O_RDONLY).err());
    assert_eq!(failed, Some(libc::EMFILE));
    client
        .ask(100, |it| {
            it.word(1 << 31);
            it.text(b"9P2000.L").unwrap();
        })
        .unwrap();
    assert_eq!(client.walk(1, &[]), Err(libc::EBADF));
    assert_eq!(client.0.message_limit, MESSAGE_LIMIT);
}

/// The session in a machine that is saved and restored.
fn elsewhere(place: &Place, client: Client, between: impl FnOnce()) -> Result<Client, BadState> {
    let [before, after] = [(); 2].map(|()| P9::new(place.folder(false), "files"));
    *lock(&before.kept) = Some(client.0);
    assert_eq!(before.obstacle(), None);
    let state = before.state();
    *lock(&before.kept) = None;
    between();
    after.restore(&state)?;
    assert_eq!(after.state(), state);
    let session = lock(&after.kept).take();
    Ok(Client(session.expect("a session")))
}

#[test]
fn a_saved_machine_has_its_files_open_again() {
    let place = Place::new();
    fs::create_dir(place.inside("folder")).unwrap();
    let mut client = place.client(false);
    client.walk(1, &[b"folder"]).unwrap();
    client.create(1, b"file", libc::O_RDWR | libc::O_TRUNC | libc::O_EXCL, 0o644).unwrap();
    client.write(1, 0, b"before").unwrap();
    client.walk(2, &[b"folder", b"file"]).unwrap();
    client.walk(3, &[b"folder"]).unwrap();
    client.open(3, libc::O_RDONLY | libc::O_DIRECTORY).unwrap();

    let mut client = elsewhere(&place, client, || ()).unwrap();
    assert_eq!(client.read(116, 1, 0, 10).unwrap(), b"before");
    client.write(1, 6, b" and after").unwrap();
    assert_eq!(fs::read(place.inside("folder/file")).unwrap(), b"before and after");
    assert_eq!(client.open(1, libc::O_RDONLY), Err(libc::EBADF)); // it is open
    client.open(2, libc::O_RDONLY).unwrap();
    assert!(client.names(3, 1000).contains(&"file".to_owned()));
    (1..4).for_each(|fid| drop(client.clunk(fid).unwrap()));

    client.walk(1, &[b"folder", b"file"]).unwrap();
    client.open(1, libc::O_RDWR).unwrap();
    let gone = elsewhere(&place, client, || fs::remove_file(place.inside("folder/file")).unwrap());
    let error = gone.err().expect("it has vanished");
    assert!(error.is_missing());
    assert!(
        error.to_string().starts_with("\"folder/file\", which its guest has open, cannot be opened again")
    );
}

#[test]
fn what_is_open_and_removed_cannot_be_saved() {
    let place = Place::new();
    fs::write(place.inside("file"), "1").unwrap();
    let mut client = place.client(false);
    client.walk(1, &[b"file"]).unwrap();
    client.open(1, libc::O_RDONLY).unwrap();
    let device = P9::new(place.folder(false), "files");
    *lock(&device.kept) = Some(client.0);
    assert_eq!(device.obstacle(), None);
    fs::write(place.inside("other"), "2").unwrap();
    fs::rename(place.inside("other"), place.inside("file")).unwrap();
    assert!(
        device.obstacle().unwrap().starts_with("its guest has \"file\" open, which was removed or replaced")
    );
}

#[test]
fn no_foreign_state_leaves_the_folder() {
    let place = Place::new();
    let device = P9::new(place.folder(false), "files");
    let fid = |path: &[u8], open: Option<i32>| {
        map([("number", 1u32.save()), ("path", Bytes(path.to_vec()).save()), ("open", open.save())])
    };
    let state =
        |limit: u32, fids: Vec<Value>| map([("message_limit", limit.save()), ("fids", Value::List(fids))]);
    fs::write(place.inside("file"), "kept").unwrap();
    assert!(device.restore(&state(8192, vec![fid(b"file", Some(libc::O_RDWR | libc::O_TRUNC))])).is_ok());
    assert_eq!(fs::read(place.inside("file")).unwrap(), b"kept");
    for path in [&b"../outside/secret"[..], b"/etc/passwd", b"nothing", b"a\0b"] {
        assert!(device.restore(&state(8192, vec![fid(path, Some(0))])).is_err());
    }
    assert!(device.restore(&state(1, vec![])).is_err());
    assert!(device.restore(&state(u32::MAX, vec![])).is_err());
    assert!(device.restore(&state(8192, vec![fid(b"", None), fid(b"", None)])).is_err());
}

#[test]
fn any_message_has_an_answer_that_fits() {
    let place = Place::new();
    let mut client = place.client(false);
    let (mut random, mut done) = (Random::new(9), 0);
    let kinds = [
        8, 12, 14, 16, 18, 20, 22, 24, 26, 30, 40, 50, 52, 54, 70, 72, 74, 76, 102, 104, 108, 110, 116, 118,
        120,
    ];
    for round in 0..30_000 {
        if round % 200 == 0 {
            unlock(&place.0);
            client = place.client(false); // a message in between may have ended the session
        }
        let mut message = vec![0; 7 + random.below(64) as usize];
        for byte in &mut message {
            *byte = if random.below(24) == 0 { random.word() as u8 } else { (random.below(6) / 4) as u8 };
        }
        let size = if random.below(8) == 0 { random.word() as u32 } else { message.len() as u32 };
        message[..4].copy_from_slice(&size.to_le_bytes());
        message[4] = if round % 9 == 0 { random.word() as u8 } else { kinds[random.below(25) as usize] };
        let room = 11 + random.below(200) as usize;
        let answer = client.0.answer(&message, room).unwrap();
        assert!(answer.len() <= room, "{message:?} {answer:?}");
        done += u32::from(answer[4] == message[4].wrapping_add(1));
        assert!(answer[4] == 7 || answer[4] == message[4].wrapping_add(1));
    }
    assert!(done > 1000, "only {done} were understood: too few to prove anything");
    assert_eq!(client.0.answer(&[7, 0, 0, 0, 100, 0], 100), None);
    assert_eq!(client.0.answer(&[7, 0, 0, 0, 100, 0, 0], 10), None);
    assert_eq!(fs::read(place.0.join("outside/secret")).unwrap(), b"secret");
}

#[test]
fn a_driver_reads_the_tag_and_is_answered() {
    let place = Place::new();
    let mut driver = Driver::ready(Arc::new(P9::new(place.folder(false), "files")), MOUNT_TAG);
    assert_eq!((driver.modern.read(0x2000, 2), driver.modern.read(0x2002, 1)), (5, b'f'.into()));
    driver.write(BUFFERS, b"\x15\0\0\0\x64\xFF\xFF\0\0\x01\0\x08\x009P2000.L");
    let buffers = [readable(BUFFERS, 21), writable(BUFFERS + 100, 7), writable(BUFFERS + 107, 100)];
    assert_eq!(driver.request(0, &buffers), Some(21));
    assert_eq!(driver.bytes(BUFFERS + 100, 21), b"\x15\0\0\0\x65\xFF\xFF\0\0\x01\0\x08\x009P2000.L");
    driver.offer(0, &[readable(BUFFERS, 21), writable(BUFFERS + 100, 10)]);
    driver.kick(0);
    assert!(driver.wait_broken());
}

#[test]
fn drivers_that_mean_harm_end_the_file_system_and_nothing_else() {
    let place = Place::new();
    for seed in 0..200 {
        crate::virtio::hostile::run(Arc::new(P9::new(place.folder(false), "files")), seed);
    }
}
