//! Who writes behind our back, and when.
#![allow(unsafe_code, reason = "lends a peer to every look at a shared word")]

use core::cell::Cell;
use core::ptr;

/// A peer that may write before each of our loads of a shared word.
pub(crate) trait Attacker {
    /// Lets it write something, now and then. Its own looks do not come here.
    #[cfg(fuzzing)]
    fn between_looks(&self);
}

/// The peer that is armed: its address, and what lets it write.
type Attack = Option<(*const (), unsafe fn(*const ()))>;

thread_local! {
    static ATTACK: Cell<Attack> = const { Cell::new(None) };
}

/// Puts back what was armed before, however its scope is left.
struct Restored(Attack);

impl Drop for Restored {
    fn drop(&mut self) {
        ATTACK.set(self.0);
    }
}

/// Runs `scope` while the peer strikes before every load of a shared word, in a build for the fuzzer.
pub(crate) fn armed<A: Attacker, T>(attacker: &A, scope: impl FnOnce() -> T) -> T {
    let _restored = Restored(ATTACK.replace(Some((ptr::from_ref(attacker).cast(), strike::<A>))));
    scope()
}

/// Runs `scope` while nobody strikes.
pub(crate) fn disarmed<T>(scope: impl FnOnce() -> T) -> T {
    let _restored = Restored(ATTACK.take());
    scope()
}

/// # Safety
/// `attacker` is the address of an `A` that lives.
unsafe fn strike<A: Attacker>(attacker: *const ()) {
    // SAFETY: the caller's promise.
    let attacker = unsafe { &*attacker.cast::<A>() };
    #[cfg(fuzzing)]
    attacker.between_looks();
    #[cfg(not(fuzzing))]
    let _ = attacker;
}

/// Lets the peer write something, if one is armed.
#[cfg(fuzzing)]
pub(crate) fn between_looks() {
    if let Some((attacker, strike)) = ATTACK.get() {
        // SAFETY: `armed` set the address of an attacker of this function's type, which is borrowed until it has put
        // back what was before. Looks happen on the thread that armed it, since the address is a thread's own.
        disarmed(|| unsafe { strike(attacker) });
    }
}
