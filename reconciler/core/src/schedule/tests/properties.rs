//! Searching agrees with trying every minute, and windows last as long as they say, for any expression.

use proptest::prelude::*;

use super::at;
use crate::schedule::*;

/// A field as a person might write it, of numbers from `least` to `most`.
fn field(least: u32, most: u32) -> impl Strategy<Value = String> {
    let number = least..=most;
    let range = (least..=most, least..=most).prop_map(|(a, b)| format!("{}-{}", a.min(b), a.max(b)));
    let item = prop_oneof![
        number.prop_map(|number| number.to_string()),
        range.clone(),
        (range, 1..=most - least).prop_map(|(range, step)| format!("{range}/{step}")),
    ];
    prop_oneof![
        2 => Just("*".to_owned()),
        1 => (1..=most - least).prop_map(|step| format!("*/{step}")),
        3 => prop::collection::vec(item, 1..4).prop_map(|items| items.join(",")),
    ]
}

fn expression() -> impl Strategy<Value = Schedule> {
    let zones = ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia"];
    let fields = (field(0, 59), field(0, 23), field(1, 31), field(1, 12), field(0, 7));
    (fields, prop::sample::select(zones.to_vec())).prop_filter_map("a valid expression", |(fields, zone)| {
        let (minute, hour, day, month, weekday) = fields;
        Schedule::new(&format!("{minute} {hour} {day} {month} {weekday}"), zone).ok()
    })
}

/// Moments around the changes of some clocks, and any others.
fn some_moment() -> impl Strategy<Value = Moment> {
    let changes = [
        "2026-03-29T01:00:00Z",
        "2026-10-25T01:00:00Z",
        "2026-11-01T06:00:00Z",
        "2026-04-04T15:00:00Z",
        "2026-10-03T15:30:00Z",
        "2011-12-30T10:00:00Z",
    ];
    let near = (prop::sample::select(changes.to_vec()), -200_000_i64..200_000);
    prop_oneof![
        near.prop_map(|(change, by)| Moment(at(change).0 + by)),
        (0_i64..4_000_000_000).prop_map(Moment),
    ]
}

/// By trying every minute: the first that the clock shows as a match, where no clock is set.
fn tried(schedule: &Schedule, after: Moment) -> Option<Moment> {
    let minute = |n: i64| Moment((after.0.div_euclid(60) + n) * 60);
    (1..=3_000).map(minute).find(|moment| {
        let (_, local) = schedule.zone().local(*moment).unwrap();
        schedule.fields.next(local - TimeDelta::seconds(1)) == Some(local)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn the_next_time_is_later_and_none_is_between(schedule in expression(), after in some_moment()) {
        if let Some(next) = schedule.next(after) {
            prop_assert!(next > after);
            // Asked just before, the answer is the same; so nothing lies between.
            prop_assert_eq!(schedule.next(Moment(next.0 - 1)), Some(next));
            let middle = Moment(after.0.midpoint(next.0));
            if middle < next {
                prop_assert_eq!(schedule.next(middle), Some(next));
            }
        }
    }

    #[test]
    fn what_happens_every_hour_is_what_trying_every_minute_finds(
        minute in field(0, 59),
        zone in prop::sample::select(vec!["UTC", "Europe/Berlin", "Australia/Lord_Howe", "Pacific/Apia"]),
        after in some_moment(),
    ) {
        let schedule = Schedule::new(&format!("{minute} * * * *"), zone).unwrap();
        let found = tried(&schedule, after);
        prop_assert!(found.is_some());
        prop_assert_eq!(schedule.next(after), found);
    }

    #[test]
    fn without_changes_of_the_clock_every_schedule_is_what_trying_finds(schedule in expression(), after in 0_i64..4_000_000_000) {
        let schedule = Schedule { zone: Zone::default(), ..schedule };
        let found = tried(&schedule, Moment(after));
        let next = schedule.next(Moment(after));
        if found.is_some() {
            prop_assert_eq!(next, found);
        } else {
            prop_assert!(next.is_none_or(|next| next.0 > after + 3_000 * 60 - 60));
        }
    }

    #[test]
    fn a_window_is_open_for_exactly_as_long_as_it_lasts(schedule in expression(), after in some_moment(), lasts in 1_u64..100_000) {
        let window = Window { opens: schedule, lasts: Duration::from_secs(lasts) };
        if let Some(opened) = window.opens.next(after) {
            let closes = opened.0 + i64::try_from(lasts).unwrap();
            prop_assert!(window.is_open(opened));
            prop_assert!(window.is_open(Moment(closes - 1)));
            let again = window.opens.next(opened).is_some_and(|again| again.0 <= closes);
            prop_assert_eq!(window.is_open(Moment(closes)), again);
        }
    }

    #[test]
    fn no_pause_is_longer_than_the_longest(schedule in expression(), after in 0_i64..3_900_000_000) {
        let schedule = Schedule { zone: Zone::default(), ..schedule };
        if let (Some(first), longest) = (schedule.next(Moment(after)), schedule.longest_pause())
            && let Some(second) = schedule.next(first)
        {
            prop_assert!(second.0 - first.0 <= i64::try_from(longest.as_secs()).unwrap());
        }
    }

    #[test]
    fn no_text_makes_it_panic(text in "[-*/,?@a-zA-Z0-9 #ä]{0,40}") {
        if let Err(fault) = Schedule::read(&text, Zone::default()) {
            prop_assert!(text.get(fault.at).is_some());
        }
    }
}
