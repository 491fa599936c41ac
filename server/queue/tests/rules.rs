//! Each rule of the queue, one by one.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::time::Duration;

use common::{HOUR, MINUTE, Office, START, mail};
use grace_queue::admin::Which;
use grace_queue::capacity::Behavior::{Busy, Unreachable, Well};
use grace_queue::queue::{After, Batch, Lapse, Mail, Outcome};
use grace_queue::schedule::{DeliverBy, Life};
use grace_queue::settings::Settings;

fn office() -> Office {
    Office::new(|_| {})
}

/// `message:recipients` of each batch.
fn shown(batches: &[Batch]) -> String {
    let shown = batches.iter().map(|batch| {
        let recipients: Vec<String> = batch.recipients.iter().map(u32::to_string).collect();
        format!("{}:{}", batch.message, recipients.join(","))
    });
    shown.collect::<Vec<_>>().join(" ")
}

#[test]
fn mail_is_tried_at_once_and_then_by_its_schedule() {
    let mut office = office();
    office.post(1, 1, "x");
    for (attempt, minutes) in (1..).zip([1, 5, 15, 30, 60]) {
        let batch = office.next().unwrap();
        assert_eq!(batch.attempt, attempt);
        assert_eq!(office.next(), None);
        let after = office.failed(&batch, Well);
        let due = office.now.after(minutes * MINUTE);
        assert_eq!((after.at, after.later, after.attempts), (Some(due), vec![0], attempt));
        office.pass(minutes * MINUTE - Duration::from_millis(1));
        assert_eq!(office.next(), None);
        assert_eq!(office.sleeps(), Some(Duration::from_millis(1)));
        office.pass(Duration::from_millis(1));
    }
    let batch = office.next().unwrap();
    let slow = office.failed(&batch, Well).at.unwrap().since(office.now);
    assert!((2 * HOUR..=4 * HOUR).contains(&slow), "{slow:?}");
}

#[test]
fn what_is_held_until_later_waits_for_it() {
    let mut office = office();
    let hold_until = Some(START.after(HOUR));
    let life = Life::new(&office.settings.schedule, START, hold_until, None);
    office.queue.add(START, &mail(1, &[0], "x", life)).unwrap();
    assert_eq!((office.next(), office.sleeps()), (None, Some(HOUR)));
    office.pass(HOUR);
    assert_eq!(shown(&office.all()), "1:0");
}

#[test]
fn recipients_of_one_destination_go_together_a_hundred_at_most() {
    let mut office = office();
    office.post(1, 250, "x");
    office.post(1, 3, "y");
    let mut sizes: Vec<(String, usize)> = office
        .all()
        .iter()
        .map(|batch| (batch.destination.to_string(), batch.recipients.len()))
        .collect();
    sizes.sort();
    let expected = [("x", 50), ("x", 100), ("x", 100), ("y", 3)];
    assert_eq!(sizes, expected.map(|(name, count)| (name.to_owned(), count)));
    assert_eq!(office.queue.len(), 253);
}

#[test]
fn a_destination_gets_only_as_much_at_once_as_it_can_take() {
    let mut office = office();
    for message in 0..100 {
        office.post(message, 1, "x");
    }
    let mut running = office.all();
    assert_eq!(running.len(), 5);
    let mut most = 5;
    while let Some(batch) = running.pop() {
        office.delivered(&batch);
        running.extend(office.all());
        most = most.max(running.len());
    }
    assert_eq!(most, 20);
    assert!(office.queue.is_empty());
}

#[test]
fn all_destinations_together_are_bounded() {
    let mut office = Office::new(|settings| settings.limits.running_max = 7);
    for message in 0..100 {
        office.post(message, 1, &format!("host{message}"));
    }
    let running = office.all();
    assert_eq!(running.len(), 7);
    office.delivered(&running[0]);
    assert_eq!(office.all().len(), 1);
}

#[test]
fn an_attempt_keeps_its_place_until_it_is_written_down() {
    for settings in [
        |s: &mut Settings| s.limits.running_max = 5,
        |s: &mut Settings| {
            s.limits.destination_max = 5;
        },
    ] {
        let mut office = Office::new(settings);
        for message in 0..100 {
            office.post(message, 1, "x");
        }
        let running = office.all();
        assert_eq!(running.len(), 5);
        let batch = &running[0];
        let (settled, untried, reason) = (batch.recipients.as_slice(), &[][..], None);
        let outcome = Outcome { behavior: Well, settled, untried, reason };
        office.queue.finished(office.now, batch.id, &outcome);
        assert_eq!(office.all(), []);
        office.queue.written(office.now, batch.id);
        assert_eq!(office.all().len(), 1);
        office.queue.written(office.now, batch.id);
        assert_eq!(office.all(), [], "once");
    }
}

#[test]
fn a_dead_host_costs_few_attempts_and_its_mail_waits_for_a_single_one() {
    let mut office = office();
    for message in 0..1_000 {
        office.post(message, 1, "dead");
    }
    for batch in office.all() {
        office.failed(&batch, Unreachable);
    }
    let figures = office.queue.figures_of(office.now, "dead").unwrap();
    let closed = figures.closed_until.unwrap().since(office.now);
    assert!((48..=72).contains(&closed.as_secs()), "{closed:?}");
    assert_eq!((figures.waiting, figures.running, figures.limit), (1_000, 0, 1));
    assert_eq!(figures.reason.as_deref(), Some("421 4.3.2 not now"));

    office.post(2_000, 1, "alive");
    assert_eq!(shown(&office.all()), "2000:0", "others do not wait for it");
    assert_eq!(office.next(), None);
    office.pass(closed);
    let probe = office.all();
    assert_eq!((probe.len(), probe[0].may_reuse), (1, false));
    office.delivered(&probe[0]);
    let after = office.all();
    assert_eq!((after.len(), after[0].may_reuse), (2, true), "half of what it was");
}

#[test]
fn a_busy_host_gets_half() {
    let mut office = office();
    for message in 0..100 {
        office.post(message, 1, "x");
    }
    for expected in [5, 2, 1] {
        let batches = office.all();
        assert_eq!(batches.len(), expected);
        for batch in batches {
            office.failed(&batch, Busy);
        }
    }
    assert_eq!(office.next(), None, "busy for a single one: left alone");
    assert!(office.queue.figures_of(office.now, "x").unwrap().closed_until.is_some());
}

#[test]
fn a_rate_is_kept() {
    let rates = |settings: &mut Settings| {
        settings.limits.attempts_per_minute = Some(60);
        settings.limits.rates.insert("slow".to_owned(), 6);
    };
    let mut office = Office::new(rates);
    for message in 0..100 {
        office.post(message, 1, "slow");
        office.post(message, 1, "other");
    }
    let mut started = [0, 0];
    for _ in 0..60 {
        for batch in office.all() {
            started[usize::from(&*batch.destination == "slow")] += 1;
            office.delivered(&batch);
        }
        office.pass(Duration::from_secs(1));
    }
    assert_eq!(started, [60, 6]);
}

#[test]
fn a_sender_of_much_does_not_hold_back_one_of_little_at_the_same_destination() {
    let mut office = office();
    for message in 0..10_000 {
        office.post_from(1, message, 1, "x");
    }
    let mut running = office.all();
    for sender in 2..=4 {
        office.post_from(sender, 20_000 + sender, 1, "x");
    }
    let mut waited = 0;
    let mut seen = Vec::new();
    while seen.len() < 3 {
        office.delivered(&running.remove(0));
        for batch in office.all() {
            seen.extend((batch.message >= 20_000).then_some(batch.message - 20_000));
            running.push(batch);
            waited += 1;
        }
    }
    seen.sort_unstable();
    assert_eq!(seen, [2, 3, 4]);
    assert!(waited <= 8, "{waited} turns for three of four senders");
}

#[test]
fn a_sender_to_many_destinations_does_not_hold_back_one_to_another() {
    let mut office = Office::new(|settings| settings.limits.running_max = 2);
    for message in 0..20_000 {
        office.post_from(1, message, 1, &format!("host{message}"));
    }
    let mut running = office.all();
    office.post_from(2, 30_000, 1, "rare");
    for turn in 1.. {
        office.delivered(&running.remove(0));
        running.extend(office.all());
        if running.iter().any(|batch| batch.message == 30_000) {
            assert!(turn <= 4, "{turn} turns");
            return;
        }
    }
}

#[test]
fn the_urgent_goes_first_among_a_senders_own() {
    let mut office = Office::new(|settings| settings.limits.running_max = 1);
    let life = office.life();
    for (message, priority) in [(1, -3), (2, 0), (3, 4)] {
        let mail = Mail { priority, ..mail(message, &[0], "x", life) };
        office.queue.add(START, &mail).unwrap();
    }
    let mut order = Vec::new();
    while let Some(batch) = office.next() {
        order.push(batch.message);
        office.delivered(&batch);
    }
    assert_eq!(order, [3, 2, 1]);
}

#[test]
fn what_is_not_named_in_an_outcome_is_tried_again() {
    let mut office = office();
    office.post(1, 4, "x");
    let batch = office.next().unwrap();
    let after = office.ended(&batch, Well, &[0, 99], &[3]);
    let at = Some(START.after(MINUTE));
    let untried = vec![3];
    assert_eq!(after, After { later: vec![1, 2], untried, at, attempts: 1, ..After::default() });
    assert_eq!(office.queue.len(), 3);
    let again = office.next().unwrap();
    assert_eq!((again.recipients.as_slice(), again.attempt), (&[3][..], 1), "counts as none");
    office.delivered(&again);
    office.pass(MINUTE);
    let again = office.next().unwrap();
    assert_eq!((again.recipients.as_slice(), again.attempt), (&[1, 2][..], 2));
}

#[test]
fn a_host_that_asks_for_nobody_is_not_called_again_at_once() {
    let mut office = office();
    office.post(1, 2, "x");
    let batch = office.next().unwrap();
    let after = office.ended(&batch, Well, &[], &[0, 1]);
    assert_eq!((after.later, after.attempts), (vec![0, 1], 1));
    assert_eq!(office.next(), None);
}

#[test]
fn an_attempt_ends_once() {
    let mut office = office();
    office.post(1, 1, "x");
    let batch = office.next().unwrap();
    office.failed(&batch, Well);
    assert_eq!(office.delivered(&batch), After::default());
    assert_eq!(office.queue.len(), 1);
}

#[test]
fn late_mail_is_told_of_and_old_mail_given_up_even_where_nothing_is_tried() {
    let mut office = office();
    office.post(1, 1, "dead");
    let mut told = Vec::new();
    let mut attempts = 0;
    loop {
        for batch in office.all() {
            attempts += 1;
            let after = office.failed(&batch, Unreachable);
            if !after.expired.is_empty() {
                told.push(("expired", office.now.since(START).as_secs() / 3_600));
            }
        }
        while let Some(lapse) = office.queue.lapsed(office.now) {
            let word = if matches!(lapse, Lapse::Late { .. }) { "late" } else { "expired" };
            told.push((word, office.now.since(START).as_secs() / 3_600));
        }
        let Some(sleep) = office.sleeps() else { break };
        office.pass(sleep);
    }
    let late = [4, 28, 52, 76, 100].map(|hours| ("late", hours));
    assert_eq!(told[..5], late);
    assert_eq!(told[5..], [("expired", 119)]);
    assert!((30..=70).contains(&attempts), "{attempts}");
    assert!(office.queue.is_empty());
}

#[test]
fn what_is_never_reached_expires_untried() {
    let mut office = office();
    for message in 0..100 {
        office.post(message, 1, "dead");
    }
    let (mut attempts, mut expired) = (0, 0);
    loop {
        for batch in office.all() {
            attempts += 1;
            expired += office.failed(&batch, Unreachable).expired.len();
        }
        while let Some(lapse) = office.queue.lapsed(office.now) {
            if let Lapse::Expired { recipients, .. } = lapse {
                expired += recipients.len();
            }
        }
        let Some(sleep) = office.sleeps() else { break };
        office.pass(sleep);
    }
    assert_eq!(expired, 100);
    assert!(attempts <= 160, "{attempts} attempts at a host dead for 120 hours");
}

#[test]
fn what_comes_too_late_from_disk_has_one_attempt_left() {
    let mut office = office();
    let old = office.life();
    let by = Some(DeliverBy::Return(START.after(HOUR)));
    let strict = Life::new(&office.settings.schedule, START, None, by);
    office.pass(200 * HOUR);
    for (message, life) in [(1, old), (2, strict)] {
        office.queue.add(office.now, &mail(message, &[0], "x", life)).unwrap();
    }
    let batches = office.all();
    assert_eq!(shown(&batches), "1:0");
    let expired = Lapse::Expired { message: 2, recipients: vec![0], destination: "x".into() };
    assert_eq!(office.queue.lapsed(office.now), Some(expired));
    assert_eq!(office.queue.lapsed(office.now), None, "and nobody is told that it is late");
    assert_eq!(office.failed(&batches[0], Well).expired, [0]);
    assert!(office.queue.is_empty());
}

#[test]
fn held_mail_waits_for_its_release_however_long() {
    let mut office = office();
    office.post(1, 3, "x");
    assert_eq!(office.queue.hold(office.now, Which::Recipient(1, 1)), 1);
    let batch = office.next().unwrap();
    assert_eq!(batch.recipients, [0, 2]);
    office.delivered(&batch);
    office.pass(1_000 * HOUR);
    assert_eq!(
        (office.next(), office.queue.lapsed(office.now), office.sleeps()),
        (None, None, None)
    );
    let figures = office.queue.figures_of(office.now, "x").unwrap();
    assert_eq!((figures.waiting, figures.held), (0, 1));
    assert_eq!(office.queue.release(office.now, Which::All), 1);
    let batch = office.next().unwrap();
    assert_eq!(batch.recipients, [1]);
    office.delivered(&batch);
    assert!(office.queue.is_empty());
}

#[test]
fn what_was_held_before_a_restart_still_is() {
    let mut office = office();
    let life = office.life();
    office.queue.add_held(START, &mail(1, &[0], "x", life)).unwrap();
    assert_eq!((office.next(), office.queue.len()), (None, 1));
    assert_eq!(office.queue.release(START, Which::Message(1)), 1);
    assert!(office.next().is_some());
}

#[test]
fn a_hold_reaches_mail_that_is_being_tried() {
    let mut office = office();
    office.post(1, 3, "x");
    let batch = office.next().unwrap();
    assert_eq!(office.queue.hold(START, Which::Recipient(1, 0)), 1);
    assert_eq!(office.queue.hold(START, Which::Recipient(1, 1)), 1);
    assert_eq!(office.queue.release(START, Which::Recipient(1, 1)), 1);
    let after = office.failed(&batch, Well);
    assert_eq!((after.held, after.later), (vec![0], vec![1, 2]));
    assert_eq!(office.queue.figures_of(START, "x").unwrap().held, 1);
}

#[test]
fn retry_now_opens_what_was_left_alone() {
    let mut office = office();
    office.post(1, 2, "x");
    office.post(2, 1, "y");
    for batch in office.all() {
        office.failed(&batch, Unreachable);
    }
    assert_eq!(office.next(), None);
    assert_eq!(office.queue.retry_now(START, Which::Recipient(1, 1)), 1);
    assert_eq!(shown(&office.all()), "1:1");
    assert_eq!(office.queue.retry_now(START, Which::Destination("x")), 1, "the other one");
    assert_eq!(office.queue.retry_now(START, Which::All), 2);
    assert_eq!(shown(&office.all()), "2:0", "one attempt at x is on its way");
}

#[test]
fn mail_is_sent_another_way() {
    let mut office = office();
    office.post(1, 1, "dead");
    let running = office.next().unwrap();
    office.post(2, 1, "dead");
    office.queue.hold(START, Which::Message(2));
    office.post(3, 1, "dead");
    assert_eq!(office.queue.reroute(START, Which::Destination("dead"), "[smart]"), 3);
    assert_eq!(office.queue.reroute(START, Which::Destination("nowhere"), "[smart]"), 0);
    let batch = office.next().unwrap();
    assert_eq!((batch.message, &*batch.destination), (3, "[smart]"));
    office.failed(&running, Unreachable);
    office.pass(MINUTE);
    let batch = office.next().unwrap();
    assert_eq!((batch.message, &*batch.destination), (1, "[smart]"));
    let figures: Vec<_> = office.queue.figures(office.now, None).collect();
    assert_eq!((figures[0].running, figures[0].held), (2, 1), "{figures:?}");
    assert_eq!((figures[1].running, figures[1].waiting), (0, 0), "{figures:?}");
}

#[test]
fn one_of_several_goes_another_way_when_its_attempt_ends() {
    let mut office = office();
    office.post(1, 5, "x");
    let batch = office.next().unwrap();
    assert!(office.queue.is_tried(1, 0) && !office.queue.is_tried(2, 0));
    for number in [0, 1, 2] {
        assert_eq!(office.queue.reroute(START, Which::Recipient(1, number), "[smart]"), 1);
    }
    // The last word counts.
    assert_eq!(office.queue.reroute(START, Which::Recipient(1, 2), "[other]"), 1);
    assert_eq!(office.queue.hold(START, Which::Recipient(1, 1)), 1);
    assert_eq!(office.queue.destination_of(1, 0), Some("x"), "not yet");
    let after = office.ended(&batch, Well, &[3], &[]);
    assert_eq!((after.rerouted, after.held, after.later), (vec![2, 0], vec![1], vec![4]));
    assert_eq!(after.attempts, 1);
    assert_eq!(office.queue.len(), 4);
    let there = |number| office.queue.destination_of(1, number).map(str::to_owned);
    let found = [0, 1, 2, 3, 4].map(there);
    let found: Vec<_> = found.iter().map(|name| name.as_deref().unwrap_or("-")).collect();
    assert_eq!(found, ["[smart]", "[smart]", "[other]", "-", "x"]);
    let batches = office.all();
    assert_eq!(shown(&batches), "1:0 1:2", "at once, but for the one that is held");
    batches.iter().for_each(|batch| assert_eq!(batch.attempt, 2));
    assert_eq!(office.queue.figures_of(office.now, "[smart]").unwrap().held, 1);
    for batch in &batches {
        office.delivered(batch);
    }
    assert_eq!(office.queue.release(office.now, Which::All), 1);
    assert_eq!(&*office.next().unwrap().destination, "[smart]");
    assert_eq!(office.queue.len(), 2);
}

#[test]
fn a_deadline_is_told_at_its_time_and_not_minutes_later() {
    let mut office = office();
    let by = Some(DeliverBy::Notify(START.after(MINUTE)));
    let life = Life::new(&office.settings.schedule, START, None, by);
    office.queue.add(START, &mail(1, &[0], "x", life)).unwrap();
    let batch = office.next().unwrap();
    office.failed(&batch, Well);
    office.pass(MINUTE);
    let lapse = office.queue.lapsed(office.now);
    assert!(matches!(lapse, Some(Lapse::Late { message: 1, .. })), "{lapse:?}");
}

#[test]
fn what_is_removed_leaves_whatever_its_attempt_brings() {
    let mut office = office();
    office.post(1, 3, "x");
    let batch = office.next().unwrap();
    office.post(2, 2, "x");
    assert_eq!(office.queue.remove(START, Which::Recipient(1, 2)), [(1, 2)]);
    assert_eq!(office.queue.remove(START, Which::Recipient(1, 2)), []);
    assert_eq!(office.queue.remove(START, Which::Message(2)), [(2, 0), (2, 1)]);
    assert_eq!(office.queue.len(), 2);
    assert_eq!(office.failed(&batch, Well).later, [0, 1]);
    assert_eq!(office.queue.remove(START, Which::All).len(), 2);
    assert!(office.queue.is_empty() && office.sleeps().is_none());
}

#[test]
fn all_of_a_running_message_can_be_removed() {
    let mut office = office();
    office.post(1, 2, "x");
    let batch = office.next().unwrap();
    assert_eq!(office.queue.remove(START, Which::All).len(), 2);
    assert_eq!(office.queue.remove(START, Which::All), []);
    assert_eq!(office.failed(&batch, Well), After { attempts: 1, ..After::default() });
    assert!(office.queue.is_empty() && office.sleeps().is_none());
}

#[test]
fn figures_come_page_by_page_in_the_order_of_names() {
    let mut office = office();
    for (message, name) in (1..).zip(["c", "a", "b"]) {
        office.post(message, 1, name);
    }
    let names = |after| {
        let figures = office.queue.figures(START, after).take(2);
        figures.map(|figures| figures.destination.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(names(None), ["a", "b"]);
    assert_eq!(names(Some("b")), ["c"]);
}

#[test]
fn settings_that_cannot_work_make_no_queue() {
    let mut settings = Settings::default();
    settings.limits.running_max = 0;
    let error = grace_queue::queue::Queue::new(settings, 1).err().unwrap();
    assert_eq!(error.name, "running_max");
}
