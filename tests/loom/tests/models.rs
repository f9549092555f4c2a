//! Every model, as a test. `make loom`.
#![cfg(loom)]

macro_rules! models {
    ($room:ident: $($name:ident),* $(,)?) => {$(
        #[test]
        fn $name() {
            tachyon_loom::$room::$name();
        }
    )*};
}

models! {
    models:
    messages_arrive_once_whole_and_in_order,
    a_slot_is_written_again_only_after_it_was_read,
    the_arena_is_written_again_only_after_it_was_read,
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
    exchanges:
    a_caller_takes_replies_while_it_waits_for_room,
    a_server_that_rests_for_room_is_woken,
    a_server_that_rests_for_requests_is_woken,
    a_loop_that_stays_armed_is_woken,
    a_loop_that_waits_for_room_is_woken,
}
