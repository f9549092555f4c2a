//! Writes of a hostile peer between loads of shared words.
#![allow(unsafe_code, reason = "lends a peer to every load of a shared word")]

use core::cell::Cell;
use core::ptr;

/// A peer that may write before each load of a shared word.
pub(crate) trait Attacker {
    /// Lets the peer write now and then. Not called for the peer's own loads.
    #[cfg(fuzzing)]
    fn between_looks(&self);
}

/// The armed peer: its address, and the function that lets the peer write.
type Attack = Option<(*const (), unsafe fn(*const ()))>;

thread_local! {
    static ATTACK: Cell<Attack> = const { Cell::new(None) };
}

/// Restores the peer that was armed before, also after a panic.
struct Restored(Attack);

impl Drop for Restored {
    fn drop(&mut self) {
        ATTACK.set(self.0);
    }
}

/// Runs `scope` while the peer may strike before every load of a shared word, in a build for the fuzzer.
pub(crate) fn armed<A: Attacker, T>(attacker: &A, scope: impl FnOnce() -> T) -> T {
    let _restored = Restored(ATTACK.replace(Some((ptr::from_ref(attacker).cast(), strike::<A>))));
    scope()
}

/// Runs `scope` without strikes.
pub(crate) fn disarmed<T>(scope: impl FnOnce() -> T) -> T {
    let _restored = Restored(ATTACK.take());
    scope()
}

/// # Safety
/// `attacker` is the address of a live `A`.
unsafe fn strike<A: Attacker>(attacker: *const ()) {
    // SAFETY: the caller promises the address of a live `A`.
    let attacker = unsafe { &*attacker.cast::<A>() };
    #[cfg(fuzzing)]
    attacker.between_looks();
    #[cfg(not(fuzzing))]
    let _ = attacker;
}

/// Lets the armed peer write.
#[cfg(fuzzing)]
pub(crate) fn between_looks() {
    if let Some((attacker, strike)) = ATTACK.get() {
        // SAFETY: `armed` has set the address of an attacker of this function's type, and borrows the attacker until
        // `Restored` resets the address. The address is thread-local, so only the thread that armed the attacker uses
        // it.
        disarmed(|| unsafe { strike(attacker) });
    }
}
