//! Work in a child process, so that a crash is an answer and not the end.

use std::ptr;

/// Longer than any batch of work takes.
const LIMIT_S: u32 = 60;

/// Calls `work` with a copy of `value` in a child and gives back what it made of it, with what ended the
/// child too early, if something did. `T` must be plain data.
///
/// # Panics
/// If the host refuses a child.
pub fn apart<T: Copy>(value: T, work: impl FnOnce(&mut T)) -> (T, Option<String>) {
    let (rights, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_ANONYMOUS | libc::MAP_SHARED);
    // SAFETY: anonymous memory at an address of the kernel's choice.
    let shared = unsafe { libc::mmap(ptr::null_mut(), size_of::<T>(), rights, flags, -1, 0) };
    assert!(shared != libc::MAP_FAILED, "mmap: {}", std::io::Error::last_os_error());
    let shared: *mut T = shared.cast();
    // SAFETY: the mapping has the size of a `T` and a page's alignment.
    unsafe { shared.write(value) };
    // SAFETY: the child leaves by `_exit` or a signal, and unwinds into nothing of its parent's.
    match unsafe { libc::fork() } {
        -1 => panic!("fork: {}", std::io::Error::last_os_error()),
        0 => {
            // SAFETY: the mapping is the child's as well; the parent waits.
            let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| unsafe {
                libc::alarm(LIMIT_S);
                work(&mut *shared);
            }));
            // SAFETY: ends the child.
            unsafe { libc::_exit(i32::from(done.is_err())) }
        }
        pid => {
            let mut status = 0;
            // SAFETY: plain system call on our own child.
            unsafe { libc::waitpid(pid, &mut status, 0) };
            // SAFETY: the child has ended; the value was written above, and `T` is plain data.
            let value = unsafe { shared.read() };
            // SAFETY: our own mapping.
            unsafe { libc::munmap(shared.cast(), size_of::<T>()) };
            let ended = match libc::WIFSIGNALED(status) {
                true => Some(format!("the host got signal {}", libc::WTERMSIG(status))),
                false if status != 0 => Some("the host panicked".into()),
                false => None,
            };
            (value, ended)
        }
    }
}
