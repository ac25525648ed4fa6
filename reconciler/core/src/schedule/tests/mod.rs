//! What expressions mean, also where clocks are set, and what is said of those that mean nothing.

mod properties;

use super::*;

fn at(text: &str) -> Moment {
    Moment(DateTime::parse_from_rfc3339(text).unwrap().timestamp())
}

/// The next times after a moment, as the zone's clock shows them with its offset.
fn next(text: &str, zone: &str, after: &str, times: usize) -> Vec<String> {
    let schedule = Schedule::new(text, zone).unwrap();
    let tz = schedule.zone().tz();
    let show = |moment: Moment| {
        let utc = DateTime::from_timestamp(moment.0, 0).unwrap();
        utc.with_timezone(&tz).format("%a %F %H:%M %z").to_string()
    };
    std::iter::successors(schedule.next(at(after)), |last| schedule.next(*last))
        .take(times)
        .map(show)
        .collect()
}

fn first(text: &str, after: &str) -> String {
    next(text, "UTC", after, 1).pop().unwrap_or_default().replace(" +0000", "")
}

#[test]
fn expressions_mean_what_people_expect() {
    let after = "2026-11-24T10:17:00Z"; // A Tuesday.
    for (text, expected) in [
        ("*/10 * * * *", "Tue 2026-11-24 10:20"),
        ("17 * * * *", "Tue 2026-11-24 11:17"),
        ("@hourly", "Tue 2026-11-24 11:00"),
        ("@daily", "Wed 2026-11-25 00:00"),
        ("@weekly", "Sun 2026-11-29 00:00"),
        ("@monthly", "Tue 2026-12-01 00:00"),
        ("@yearly", "Fri 2027-01-01 00:00"),
        ("0 3 * * SUN", "Sun 2026-11-29 03:00"),
        ("0 3 * * 0", "Sun 2026-11-29 03:00"),
        ("0 3 * * 7", "Sun 2026-11-29 03:00"),
        ("0 3 * * 1", "Mon 2026-11-30 03:00"),
        ("0 3 * * 6", "Sat 2026-11-28 03:00"),
        ("0 3 * * sat-sun", "Sat 2026-11-28 03:00"),
        ("0 3 * * 6-7", "Sat 2026-11-28 03:00"),
        ("0 3 * * SUN-MON", "Sun 2026-11-29 03:00"),
        ("5,1 3 * jan MON", "Mon 2027-01-04 03:01"),
        ("0 0-23/6 * * *", "Tue 2026-11-24 12:00"),
        ("30 22-23,0-5 * * *", "Tue 2026-11-24 22:30"),
        ("0 0 29 2 *", "Tue 2028-02-29 00:00"),
        ("  0\t3  * * *  ", "Wed 2026-11-25 03:00"),
    ] {
        assert_eq!(first(text, after), expected, "{text}");
    }
}

#[test]
fn a_day_of_the_month_and_a_weekday_match_either() {
    assert_eq!(
        next("0 0 13 * FRI", "UTC", "2026-11-06T00:00:00Z", 3),
        ["Fri 2026-11-13 00:00 +0000", "Fri 2026-11-20 00:00 +0000", "Fri 2026-11-27 00:00 +0000"],
    );
    assert_eq!(first("0 0 13 * FRI", "2026-12-12T00:00:00Z"), "Sun 2026-12-13 00:00");
    // No month has such a day, and the weekday is enough.
    assert_eq!(first("0 0 31 2 MON", "2026-11-06T00:00:00Z"), "Mon 2027-02-01 00:00");
}

/// 29 March 2026: the clock of Berlin goes from 2:00 to 3:00. 25 October 2026: from 3:00 back to 2:00.
#[test]
fn a_time_that_the_clock_skips_is_made_up_for_and_one_that_it_shows_twice_counts_once() {
    assert_eq!(
        next("30 2 * * *", "Europe/Berlin", "2026-03-27T12:00:00Z", 3),
        ["Sat 2026-03-28 02:30 +0100", "Sun 2026-03-29 03:00 +0200", "Mon 2026-03-30 02:30 +0200"],
    );
    assert_eq!(
        next("*/20 2-3 * * *", "Europe/Berlin", "2026-03-29T00:00:00Z", 3),
        ["Sun 2026-03-29 03:00 +0200", "Sun 2026-03-29 03:20 +0200", "Sun 2026-03-29 03:40 +0200"],
    );
    assert_eq!(
        next("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", 2),
        ["Sun 2026-10-25 02:30 +0200", "Mon 2026-10-26 02:30 +0100"],
    );
    // Asked between the two, it has been.
    assert_eq!(
        next("30 2 * * *", "Europe/Berlin", "2026-10-25T01:10:00Z", 1),
        ["Mon 2026-10-26 02:30 +0100"]
    );
}

#[test]
fn what_happens_every_hour_follows_the_clock_as_it_goes() {
    assert_eq!(
        next("*/30 * * * *", "Europe/Berlin", "2026-10-24T23:59:00Z", 6),
        [
            "Sun 2026-10-25 02:00 +0200",
            "Sun 2026-10-25 02:30 +0200",
            "Sun 2026-10-25 02:00 +0100",
            "Sun 2026-10-25 02:30 +0100",
            "Sun 2026-10-25 03:00 +0100",
            "Sun 2026-10-25 03:30 +0100",
        ],
    );
    assert_eq!(
        next("*/30 * * * *", "Europe/Berlin", "2026-03-29T00:29:00Z", 3),
        ["Sun 2026-03-29 01:30 +0100", "Sun 2026-03-29 03:00 +0200", "Sun 2026-03-29 03:30 +0200"],
    );
    // Lord Howe sets its clock by half an hour.
    assert_eq!(
        next("15,45 * * * *", "Australia/Lord_Howe", "2026-04-04T14:30:00Z", 3),
        ["Sun 2026-04-05 01:45 +1100", "Sun 2026-04-05 01:45 +1030", "Sun 2026-04-05 02:15 +1030"],
    );
}

#[test]
fn a_day_that_a_zone_left_out_is_made_up_for() {
    // Samoa had no 30 December 2011.
    assert_eq!(
        next("0 3 * * *", "Pacific/Apia", "2011-12-29T13:01:00Z", 2),
        ["Sat 2011-12-31 00:00 +1400", "Sat 2011-12-31 03:00 +1400"],
    );
}

/// A text, the part of it that is meant, what is wrong, and what to write instead.
const MISTAKES: &[(&str, &str, &str, &str)] = &[
    ("", "", "it is empty", "write five fields, such as `0 3 * * *`, or `@daily`"),
    (
        "0 3 * *",
        "0 3 * *",
        "it has 4 fields, and five are needed",
        "write the five: minute, hour, day of the month, month, weekday, for example `0 3 * * SUN`",
    ),
    (
        "0 */5 * * * *",
        "0 */5 * * * *",
        "it has 6 fields, and five are needed: there are no seconds and no years",
        "write the five: minute, hour, day of the month, month, weekday, for example `*/5 * * * *`",
    ),
    ("0 3 ? * *", "?", "`?` is no day of the month", "write `*`"),
    (
        "0 3 L * *",
        "L",
        "`L` is no day of the month",
        "the last or the n-th day of a kind cannot be written: list days, for example `22-28`",
    ),
    (
        "0 3 * * 5#2",
        "5#2",
        "`5#2` is no weekday",
        "the last or the n-th day of a kind cannot be written: list days, for example `22-28`",
    ),
    ("0 24 * * *", "24", "there is no hour 24", "write a number from 0 to 23"),
    ("0 1,25 * * *", "25", "there is no hour 25", "write a number from 0 to 23"),
    ("0 3 * * sunday", "sunday", "`sunday` is no weekday", "write `SUN`"),
    ("0 3 * foo *", "foo", "`foo` is no month", "write `*`, a number from 1 to 12, or a name such as `JAN`"),
    (
        "x 3 * * *",
        "x",
        "`x` is no minute",
        "write `*`, a number from 0 to 59, a range such as `1-3`, or a step such as `*/2`",
    ),
    ("5/15 * * * *", "5/15", "a step of 15 needs a range to go through", "write `5-59/15`"),
    ("*/90 * * * *", "90", "a step of 90 is more than a minute can have", "write a step of at most 59"),
    ("*/0 * * * *", "0", "a step of 0 goes nowhere", "write a step of at least 1"),
    (
        "*/x * * * *",
        "x",
        "the step of the minute is no number",
        "write a whole number after `/`, for example `*/10`",
    ),
    ("0 22-6 * * *", "22-6", "the range `22-6` ends before it begins", "write `22-23,0-6`"),
    ("0 22-0 * * *", "22-0", "the range `22-0` ends before it begins", "write `22-23,0`"),
    ("0 3 * * FRI-TUE", "FRI-TUE", "the range `FRI-TUE` ends before it begins", "write `FRI-SUN,MON-TUE`"),
    ("0 3 * NOV-FEB *", "NOV-FEB", "the range `NOV-FEB` ends before it begins", "write `NOV-DEC,JAN-FEB`"),
    (
        "0 0 30,31 2 *",
        "30,31 2",
        "there is no such day in any year",
        "choose a day that one of the months has",
    ),
    (
        "0 0 */2 * MON",
        "*/2 * MON",
        "a step over all days and another restriction of the day can be read in two ways",
        "list the days, for example `1-31/2`: then a day matches that fits either field",
    ),
    (
        "@reboot",
        "@reboot",
        "there is no such name",
        "what is wanted is looked at after each start anyway: write a time such as `@daily`",
    ),
    (
        "@every 5m",
        "@every 5m",
        "there is no such name",
        "write a time of the clock, such as `*/10 * * * *` for every ten minutes",
    ),
    ("@midnight", "@midnight", "there is no such name", "write `@daily`"),
];

#[test]
fn mistakes_are_told_with_their_place_and_a_way_out() {
    for (text, marked, title, help) in MISTAKES {
        let fault = Schedule::read(text, Zone::default()).expect_err(text);
        assert_eq!(
            (&text[fault.at.clone()], fault.title.as_str(), fault.help.as_str()),
            (*marked, *title, *help)
        );
    }
    assert!(Schedule::new(&"0,".repeat(200), "UTC").is_err());
    for empty in ["0 3,, * * *", "0 3- * * *", "0 -3 * * *", "0 3 * * ,"] {
        assert!(Schedule::new(empty, "UTC").is_err(), "{empty}");
    }
}

#[test]
fn a_zone_is_known_by_its_name() {
    assert_eq!(Zone::new("Europe/Berlin").map(Zone::name), Ok("Europe/Berlin"));
    let meant = |name: &str| Zone::new(name).unwrap_err().meant;
    assert_eq!(meant("europe/berlin"), Some("Europe/Berlin"));
    assert_eq!(meant("berlin"), Some("Europe/Berlin"));
    assert_eq!(meant("New York"), Some("America/New_York"));
    assert_eq!(meant("+02:00"), None);
    assert_eq!(Schedule::new("@daily", "Mars/Base").unwrap_err(), "there is no time zone `Mars/Base`");
}

fn window(opens: &str, zone: &str, lasts: &str) -> Window {
    Window { opens: Schedule::new(opens, zone).unwrap(), lasts: parse_duration(lasts).unwrap() }
}

#[test]
fn a_window_is_open_across_midnight_and_across_changes_of_the_clock() {
    let night = window("0 23 * * SAT", "Europe/Berlin", "4h");
    for (now, open) in [
        ("2026-11-28T21:59:59Z", false),
        ("2026-11-28T22:00:00Z", true),
        ("2026-11-29T01:59:59Z", true),
        ("2026-11-29T02:00:00Z", false),
        // The nights on which the clock is set: four hours pass all the same.
        ("2026-03-28T22:00:00Z", true),
        ("2026-03-29T01:59:59Z", true),
        ("2026-03-29T02:00:00Z", false),
        ("2026-10-24T20:59:59Z", false),
        ("2026-10-25T00:59:59Z", true),
        ("2026-10-25T01:00:00Z", false),
    ] {
        assert_eq!(night.is_open(at(now)), open, "{now}");
    }
    // It would open in the hour that is left out.
    let skipped = window("30 2 * * *", "Europe/Berlin", "1h");
    assert!(!skipped.is_open(at("2026-03-29T00:59:59Z")));
    assert!(skipped.is_open(at("2026-03-29T01:00:00Z")));
    assert!(!skipped.is_open(at("2026-03-29T02:00:00Z")));
}

#[test]
fn a_window_that_never_closes_is_known() {
    for (opens, lasts, never) in [
        ("@daily", "24h", true),
        ("@daily", "23h", false),
        ("0 0 * * SAT,SUN", "24h", false),
        ("0 0 * * SAT,SUN", "6d", true),
        ("* * * * *", "60s", true),
        ("* * * * MON-FRI", "60s", false),
        ("0 * * * *", "1h", true),
        ("0 8-20 * * *", "1h", false),
        ("0 0 1 * *", "30d", false),
        ("0 0 1 * *", "31d", true),
        ("0 0 29 2 *", "1400d", false),
        ("0 0 1 1 SUN", "7d", false),
        ("0 0 1 * SUN", "7d", true),
    ] {
        assert_eq!(window(opens, "UTC", lasts).never_closes(), never, "{opens} {lasts}");
    }
}

#[test]
fn the_ends_of_time_are_no_trouble() {
    let schedule = Schedule::new("@daily", "America/New_York").unwrap();
    for moment in [i64::MIN, -1, 0, 4_102_444_800, 4_134_067_199, 4_134_067_200, i64::MAX] {
        let next = schedule.next(Moment(moment));
        assert!(next.is_none_or(|next| next > Moment(moment)), "{moment}: {next:?}");
    }
    assert_eq!(schedule.next_three(at("2026-11-24T00:00:00Z")).len(), 3);
    assert!(!window("@daily", "UTC", "1h").is_open(Moment(i64::MIN)));
    assert!(!window("@daily", "UTC", "1h").is_open(Moment(i64::MAX)));
}
