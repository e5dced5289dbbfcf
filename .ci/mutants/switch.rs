//! Selects the active mutant: the one that the environment variable `MUTANT` names, or none. `MUTANT_REACH` names a file with one
//! byte for each mutant, in which the mutants that are reached are marked, also by child processes.

#![allow(unsafe_code, static_mut_refs, missing_docs)]

use std::os::fd::AsRawFd;

/// Written once, before `main`, so that the compiler may hoist reads out of loops.
static mut ACTIVE: u32 = 0;
static mut REACHED: *mut u8 = std::ptr::null_mut();
const NOTE: u32 = u32::MAX;

#[inline(always)]
pub(crate) fn is(number: u32) -> bool {
    let active = unsafe { ACTIVE };
    active == number || (active == NOTE && note(number))
}

#[cold]
#[inline(never)]
fn note(number: u32) -> bool {
    unsafe { *REACHED.add(number as usize) = 1 };
    false
}

#[used]
#[unsafe(link_section = ".init_array")]
static START: extern "C" fn() = start;

extern "C" fn start() {
    if let Ok(path) = std::env::var("MUTANT_REACH") {
        let file = std::fs::File::options().read(true).write(true).open(path).unwrap();
        let len = file.metadata().unwrap().len() as usize;
        // PROT_READ | PROT_WRITE, MAP_SHARED: marks from a killed process are kept.
        unsafe {
            REACHED = mmap(std::ptr::null_mut(), len, 3, 1, file.as_raw_fd(), 0);
            ACTIVE = NOTE;
        }
    } else if let Some(number) = std::env::var("MUTANT").ok().and_then(|number| number.parse().ok()) {
        unsafe { ACTIVE = number };
    }
}

unsafe extern "C" {
    fn mmap(at: *mut u8, len: usize, protection: i32, flags: i32, file: i32, offset: i64) -> *mut u8;
}
