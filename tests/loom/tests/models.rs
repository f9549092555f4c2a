//! Every model as a test, run by `make loom`.
#![cfg(loom)]

use tachyon_loom::{FENCED, SECOND_LOOK, UNFENCED};

/// The models of a module, each as a test.
macro_rules! models {
    ($module:ident $wakers:tt: $($name:ident),* $(,)?) => {$(
        #[test]
        fn $name() {
            tachyon_loom::$module::$name $wakers;
        }
    )*};
}

/// The models that park, as tests with these wakers.
macro_rules! parking {
    ($wakers:ident) => {
        models! {
            models(super::$wakers):
            a_parked_receiver_is_woken,
            a_parked_sender_is_woken,
            both_sides_park,
            a_close_loses_nothing,
            a_close_wakes_a_parked_receiver,
            a_close_by_the_receiver_wakes_a_parked_sender,
            a_condemned_ring_wakes_both_sides,
            a_death_loses_nothing,
        }

        models! {
            exchanges(super::$wakers):
            a_caller_takes_replies_while_it_waits_for_room,
            a_server_that_parks_for_room_is_woken,
            a_server_that_parks_for_requests_is_woken,
            a_loop_that_stays_armed_is_woken,
            a_loop_that_waits_for_room_is_woken,
        }

        models! {
            callers(super::$wakers):
            a_caller_with_two_calls_over_two_slots_is_woken,
            a_caller_that_waits_for_room_alone_is_woken,
            a_cancellation_meets_a_reply,
            a_caller_that_waits_for_credit_alone_is_woken,
        }

        models! {
            streams(super::$wakers):
            a_callee_that_waits_for_credit_is_woken,
            a_callee_that_waits_for_credit_and_room_is_woken,
            a_caller_that_waits_for_credit_is_woken,
        }

        models! {
            rings(super::$wakers):
            a_stale_ring_loses_nothing,
            a_ring_that_could_not_be_sent_is_sent_with_the_next_message,
            a_ring_that_could_not_be_sent_is_sent_with_the_next_release,
        }
    };
}

/// The models of two threads that sleep on one socket, as tests with these wakers.
macro_rules! sleepers {
    ($wakers:ident) => {
        models! {
            sleepers(super::$wakers):
            two_threads_on_one_socket_are_woken,
            a_ring_that_another_thread_took_is_asked_for_again,
            a_close_ends_the_waits_of_two_threads,
            a_close_of_this_side_ends_its_waits,
            a_death_loses_nothing_for_two_threads,
        }
    };
}

models! {
    models():
    messages_arrive_once_whole_and_in_order,
    a_slot_is_written_again_only_after_it_was_read,
    the_arena_is_written_again_only_after_it_was_read,
}

models! {
    streams():
    a_stream_has_no_credit_of_the_one_before_it,
}

models! {
    rings():
    messages_after_a_ring_assume_nothing,
    releases_after_a_ring_assume_nothing,
    a_waker_runs_out_of_fences,
    a_signal_is_no_second_look,
}

mod fenced {
    parking!(FENCED);
    sleepers!(FENCED);
}

mod unfenced {
    parking!(UNFENCED);
    sleepers!(UNFENCED);
}

mod second_look {
    parking!(SECOND_LOOK);
}
