//! The options of a model: its threads park at once, and no hook interrupts them.

use crate::wait::{Interrupt, PollingMode};

#[derive(Debug, Clone, Default)]
pub(crate) struct Options;

impl Options {
    pub(crate) fn polling_mode(&self) -> PollingMode {
        PollingMode::Park
    }

    pub(crate) fn interrupt_hook(&self) -> Option<Interrupt> {
        None
    }
}
