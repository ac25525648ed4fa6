//! `holdfast validate`: a folder, checked as if it were a commit, without any connection.

use std::fmt::Write as _;
use std::path::Path;

use holdfast_core::desired::{Desired, DriftMode, Site};
use holdfast_core::manifest::{self, Manifest, Tree, render};
use holdfast_core::report::count;
use holdfast_core::schedule::{Moment, show_duration};
use holdfast_core::scrub::Scrubber;

use super::{Verdict, print};
use crate::{clock, directory, kinds};

pub(super) fn validate(folder: &Path, scrubber: &Scrubber) -> anyhow::Result<Verdict> {
    let tree = directory::read(folder)?;
    match manifest::read(&tree, &kinds::all(), &kinds::validators()) {
        Ok(manifest) => {
            print_warnings(&manifest, &tree, scrubber)?;
            let environments = &manifest.site.environments;
            let resources: usize = environments
                .iter()
                .map(|(_, desired)| desired.resources.values().filter(|resource| !resource.borrowed).count())
                .sum();
            let environments = count(environments.len(), "environment");
            print(scrubber, &format!("valid: {} in {environments}\n", count(resources, "resource")))?;
            print(scrubber, &times(&manifest.site, Moment(clock::now())))?;
            Ok(Verdict::Good)
        }
        Err(problems) => {
            print(scrubber, &problems.render(&tree))?;
            Ok(Verdict::Bad)
        }
    }
}

/// What somebody should know although nothing is wrong.
pub(super) fn print_warnings(manifest: &Manifest, tree: &Tree, scrubber: &Scrubber) -> anyhow::Result<()> {
    if manifest.warnings.is_empty() {
        Ok(())
    } else {
        print(scrubber, &format!("{}\n", render(&manifest.warnings, tree)))
    }
}

/// When something will happen by the clock, so that a schedule can be seen to mean what it should. Empty where
/// there is no schedule and no pause.
fn times(site: &Site, now: Moment) -> String {
    let mut text = String::new();
    if let Some(why) = site.environments.iter().find_map(|(_, desired)| desired.pause.as_ref()) {
        let _ = write!(text, "\npaused, so nothing will be changed: {why}\n");
    }
    for (environment, desired) in &site.environments {
        let lines: Vec<String> =
            [drift(desired, now), maintenance(desired, now)].into_iter().flatten().collect();
        if !lines.is_empty() {
            let _ = write!(text, "\n{environment}\n  {}\n", lines.join("\n  "));
        }
    }
    text
}

fn drift(desired: &Desired, now: Moment) -> Option<String> {
    let schedule = desired.drift.schedule.as_ref()?;
    let what = match desired.drift.mode {
        DriftMode::Correct => "drift is corrected",
        DriftMode::Report => "drift is reported",
    };
    let times: Vec<String> =
        schedule.next_three(now).into_iter().map(|at| schedule.zone().show(at)).collect();
    Some(format!("{what} at {} ({})", times.join(", "), schedule.zone()))
}

fn maintenance(desired: &Desired, now: Moment) -> Option<String> {
    let window = desired.maintenance.as_ref()?;
    let zone = window.opens.zone();
    let now_open = if window.is_open(now) { "is open now, and " } else { "" };
    let next = window.opens.next(now).map_or_else(|| "never".to_owned(), |at| zone.show(at));
    Some(format!("maintenance {now_open}opens {next} for {} ({zone})", show_duration(window.lasts)))
}

#[cfg(test)]
mod tests {
    use holdfast_core::ident::EnvironmentName;
    use holdfast_core::manifest::tree::SITE_FILE;

    use super::*;

    const SITE: &str = "apiVersion: holdfast/v1
kind: Site
metadata: { name: home }
spec:
  environments: [core, web, quiet]
  timezone: Europe/Berlin
  pause: the disks are full
";
    const CORE: &str = "apiVersion: holdfast/v1
kind: Environment
metadata: { name: core }
spec:
  drift: { schedule: 30 */12 * * * }
  maintenance: { opens: 0 23 * * SAT, lasts: 2h }
";
    const WEB: &str = "apiVersion: holdfast/v1
kind: Environment
metadata: { name: web }
spec:
  drift: { schedule: \"@weekly\", mode: report }
";
    const QUIET: &str = "apiVersion: holdfast/v1
kind: Environment
metadata: { name: quiet }
spec: {}
";

    fn site() -> Site {
        let mut tree = Tree::default();
        tree.files.insert(SITE_FILE.to_owned(), SITE.into());
        for (name, text) in [("core", CORE), ("web", WEB), ("quiet", QUIET)] {
            tree.files.insert(format!("environments/{name}/environment.yaml"), text.into());
        }
        let manifest = manifest::read(&tree, &kinds::all(), &kinds::validators());
        manifest.map_err(|problems| problems.render(&tree)).expect("it is in order").site
    }

    /// 2026-11-28 22:30 UTC, a Saturday, 23:30 in Berlin.
    const NOW: Moment = Moment(1_795_905_000);

    #[test]
    fn schedules_are_shown_as_the_times_that_they_mean() {
        let expected = "
paused, so nothing will be changed: the disks are full

core
  drift is corrected at Sun 2026-11-29 00:30, Sun 2026-11-29 12:30, Mon 2026-11-30 00:30 (Europe/Berlin)
  maintenance is open now, and opens Sat 2026-12-05 23:00 for 2h (Europe/Berlin)

web
  drift is reported at Sun 2026-11-29 00:00, Sun 2026-12-06 00:00, Sun 2026-12-13 00:00 (Europe/Berlin)
";
        assert_eq!(times(&site(), NOW), expected);
        let later = times(&site(), Moment(NOW.0 + 7_200));
        assert!(
            later.contains("\n  maintenance opens Sat 2026-12-05 23:00 for 2h (Europe/Berlin)\n"),
            "{later}"
        );
    }

    #[test]
    fn without_schedules_nothing_is_shown() {
        let environment = EnvironmentName::new("core").unwrap();
        let site = Site { environments: vec![(environment, Desired::default())], ..Site::default() };
        assert_eq!(times(&site, NOW), "");
    }
}
