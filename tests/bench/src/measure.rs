//! Measuring one run of a process: wall time, CPU time and peak memory, as the kernel counts them.

use std::fmt;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use holdfast_lab::service::command;

use crate::homes::Home;

/// What one run took.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Figures {
    wall: Duration,
    /// In clock ticks of 10 ms.
    cpu_ticks: u64,
    peak_kib: u64,
    pub(crate) requests: usize,
}

impl Figures {
    /// The run in the middle by wall time.
    pub(crate) fn median(mut rounds: Vec<Self>) -> Self {
        rounds.sort_by_key(|figures| figures.wall);
        rounds[rounds.len() / 2]
    }

    /// This one in multiples of another.
    pub(crate) fn ratio(&self, other: &Self) -> String {
        format!(
            "{:>8.1}x {:>8.1}x {:>9.1}x {:>8.1}x",
            self.wall.as_secs_f64() / other.wall.as_secs_f64(),
            float(self.cpu_ticks) / float(other.cpu_ticks.max(1)),
            float(self.peak_kib) / float(other.peak_kib.max(1)),
            float(self.requests as u64) / float(other.requests.max(1) as u64),
        )
    }
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn float(number: u64) -> f64 {
    number as f64
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (wall, cpu, peak) = (self.wall.as_millis(), self.cpu_ticks * 10, float(self.peak_kib) / 1024.0);
        write!(f, "{wall:>9} {cpu:>9} {peak:>10.1} {:>9}", self.requests)
    }
}

/// Runs a command of the service in the home's repository.
pub(crate) async fn run(binary: &Path, home: &Home, arguments: &[&str]) -> Result<Figures> {
    let begun = Instant::now();
    let mut child = command(binary, &home.config(), &home.credentials())
        .args(["--log", "error"])
        .args(arguments)
        .current_dir(home.repository())
        .stdout(Stdio::null())
        .stderr(Stdio::inherit())
        .spawn()?;
    let id = child.id().context("it runs")?;
    let (mut cpu_ticks, mut peak_kib) = (0, 0);
    let status = loop {
        // The kernel forgets a process as soon as it is waited for, so it is asked while it runs.
        cpu_ticks = ticks(id).unwrap_or(cpu_ticks);
        peak_kib = peak(id).unwrap_or(peak_kib);
        if let Some(status) = child.try_wait()? {
            break status;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    };
    ensure!(status.code() == Some(0), "`{}` ended with {status}", arguments.join(" "));
    Ok(Figures { wall: begun.elapsed(), cpu_ticks, peak_kib, requests: 0 })
}

/// User and system time, fields 14 and 15 of `/proc/PID/stat` (proc(5)).
fn ticks(id: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    Some(fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?)
}

/// `VmHWM` of `/proc/PID/status`, in KiB.
fn peak(id: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_whitespace().next()?.parse().ok()
}
