//! What all tests share: the built binary, a home of its own for each test, and waiting with a bound.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use holdfast_lab::forge::Post;
use holdfast_lab::home::{Home, Options};
use holdfast_lab::service::{self, Service};
use serde_json::Value;
use tokio::sync::{Semaphore, SemaphorePermit};

/// How long anything may take that is waited for. Far more than it takes, for machines that are busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

/// Homes that live at once: each runs a service and a dozen simulators.
static HOMES: Semaphore = Semaphore::const_new(6);

/// The service's binary, built once and as the tests were.
pub(crate) fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        let cargo = std::env::var("CARGO").unwrap_or_else(|_| env!("CARGO").to_owned());
        let mut command = std::process::Command::new(cargo);
        command.args(["build", "--quiet", "--locked", "--bin", "holdfast"]);
        if !cfg!(debug_assertions) {
            command.arg("--release");
        }
        let built = command.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")).status();
        assert!(built.expect("cargo runs").success(), "the service could not be built");
        service::binary().expect("it was just built")
    })
}

/// A home with its service.
pub(crate) struct Life {
    pub(crate) home: Home,
    service: Option<Service>,
    _permit: SemaphorePermit<'static>,
}

impl Life {
    /// A home without a service yet, and with an empty repository.
    pub(crate) async fn furnish(options: &Options) -> Self {
        let permit = HOMES.acquire().await.expect("never closed");
        binary();
        let home = Home::start(options).await.expect("a home starts");
        Self { home, service: None, _permit: permit }
    }

    /// Starts the service, which must not run.
    pub(crate) fn start(&mut self) -> &mut Service {
        assert!(self.service.is_none(), "the service runs already");
        let service = Service::start(binary(), &self.home.config(), &self.home.credentials());
        self.service.insert(service.expect("the service starts"))
    }

    /// Starts the service by a command line that [`service::command`] began.
    pub(crate) fn start_by(&mut self, command: tokio::process::Command) {
        assert!(self.service.is_none(), "the service runs already");
        self.service = Some(Service::spawn(command, |_| {}).expect("the service starts"));
    }

    /// A home, its service, and the repository as `fill` leaves it, pushed. Gives the commit as well.
    pub(crate) async fn begin(options: &Options, fill: impl FnOnce(&Home)) -> (Self, String) {
        let mut life = Self::furnish(options).await;
        fill(&life.home);
        let commit = life.push("the first commit");
        life.start();
        (life, commit)
    }

    pub(crate) fn service(&mut self) -> &mut Service {
        self.service.as_mut().expect("the service was started")
    }

    /// Kills the service and starts it anew.
    pub(crate) async fn restart(&mut self) -> &mut Service {
        self.kill().await;
        self.start()
    }

    pub(crate) async fn kill(&mut self) {
        if let Some(mut service) = self.service.take() {
            service.kill().await.expect("a process can be killed");
        }
    }

    /// Ends the service as systemd does. It must end well.
    pub(crate) async fn terminate(&mut self) {
        let mut service = self.service.take().expect("the service was started");
        let well = service.terminate(PATIENCE).await.expect("the service ends");
        assert!(well, "the service ended badly: {:#?}", service.log());
    }

    pub(crate) fn push(&self, message: &str) -> String {
        self.home.repository.push(message).expect("git pushes")
    }

    pub(crate) fn write(&self, path: &str, content: &str) {
        self.home.repository.write(path, content).expect("a file is written");
    }

    pub(crate) fn edit(&self, path: &str, from: &str, to: &str) {
        self.home.repository.edit(path, from, to).expect("a file is edited");
    }

    /// Waits for the final status of a context.
    pub(crate) async fn final_status(&mut self, commit: &str, context: &str) -> Post {
        match self.home.until_final(commit, context, PATIENCE).await {
            Ok(post) => post,
            Err(error) => panic!("{error:#}\n{}", self.told()),
        }
    }

    /// Waits until a context of a commit is green.
    pub(crate) async fn green(&mut self, commit: &str, context: &str) -> Post {
        let post = self.final_status(commit, context).await;
        assert_eq!(post.state, "success", "{context}: {}\n{}", post.description, self.told());
        post
    }

    /// Waits until all contexts of a commit are green.
    pub(crate) async fn all_green(&mut self, commit: &str, environments: &[&str]) {
        for context in ["validate"].iter().chain(environments) {
            self.green(commit, context).await;
        }
    }

    /// Waits for a red status, which must say all of `words`.
    pub(crate) async fn red(&mut self, commit: &str, context: &str, words: &[&str]) -> Post {
        let post = self.final_status(commit, context).await;
        assert_ne!(post.state, "success", "{context}: {}", post.description);
        for word in words {
            let has = post.description.contains(word);
            assert!(has, "{context} lacks `{word}`: {}\n{}", post.description, self.told());
        }
        post
    }

    /// Waits until a context of a commit is green, although it was red.
    pub(crate) async fn until_green(&mut self, commit: &str, context: &str) {
        let green = |home: &Home| home.status(commit, context).is_some_and(|post| post.state == "success");
        self.until(&format!("{context} turns green"), green).await;
    }

    /// Waits until all contexts of a commit turn green, however often they fail before: where a resource has little
    /// time to settle, a busy machine is late.
    pub(crate) async fn until_all_green(&mut self, commit: &str, environments: &[&str]) {
        for context in ["validate"].iter().chain(environments) {
            self.until_green(commit, context).await;
        }
    }

    /// Changes the service's config, which it reads when it starts.
    pub(crate) fn configure(&self, from: &str, to: &str) {
        let text = std::fs::read_to_string(self.home.config()).expect("the config can be read");
        assert!(text.contains(from), "`{from}` is not in {text}");
        std::fs::write(self.home.config(), text.replace(from, to)).expect("the config can be written");
    }

    /// Waits until something is so.
    pub(crate) async fn until(&mut self, what: &str, mut so: impl FnMut(&Home) -> bool) {
        let reached = async {
            while !so(&self.home) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let in_time = tokio::time::timeout(PATIENCE, reached).await.is_ok();
        assert!(in_time, "never came: {what}\n{}", self.told());
    }

    /// Waits until that many more runs have ended in an environment, counted from now on.
    pub(crate) async fn runs(&mut self, environment: &str, count: usize) {
        let goal = ended(self.service(), environment) + count;
        self.until_ended(environment, goal).await;
    }

    /// Waits until that many runs have ended in an environment since the service started.
    pub(crate) async fn until_ended(&mut self, environment: &str, count: usize) {
        let service = self.service();
        let reached = async {
            while ended(service, environment) < count {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let in_time = tokio::time::timeout(PATIENCE, reached).await.is_ok();
        assert!(in_time, "no {count} runs of {environment} ended\n{}", self.told());
    }

    /// Waits until the last run of an environment that ended has this state.
    pub(crate) async fn until_run_ends(&mut self, environment: &str, state: &str) {
        let service = self.service();
        let is_so = |service: &Service| {
            let lines = service.log();
            let last = lines.iter().rev().find(|line| is_end(line, environment));
            last.is_some_and(|line| line["state"] == state)
        };
        let reached = async {
            while !is_so(service) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let in_time = tokio::time::timeout(PATIENCE, reached).await.is_ok();
        assert!(in_time, "no run of {environment} ended with {state}\n{}", self.told());
    }

    /// Starts the service with a `git` that notes each call as a line of a file, whose path is given.
    pub(crate) fn start_with_counted_git(&mut self) -> PathBuf {
        use std::os::unix::fs::PermissionsExt as _;
        let (folder, calls) = (self.home.folder().join("bin"), self.home.folder().join("calls"));
        std::fs::create_dir(&folder).expect("a folder is made");
        let path = std::env::var("PATH").unwrap_or_default();
        let script =
            format!("#!/bin/sh\necho \"$*\" >> '{}'\nPATH='{path}' exec git \"$@\"\n", calls.display());
        let git = folder.join("git");
        std::fs::write(&git, script).expect("a program is written");
        std::fs::set_permissions(&git, std::fs::Permissions::from_mode(0o755)).expect("it may run");
        let mut command = service::command(binary(), &self.home.config(), &self.home.credentials());
        command.env("PATH", format!("{}:{path}", folder.display()));
        self.service = Some(Service::spawn(command, |_| {}).expect("the service starts"));
        calls
    }

    /// Waits until the log holds a line that contains all of `words`, the fields included.
    pub(crate) async fn logged(&mut self, words: &[&str]) {
        let service = self.service();
        let found = async {
            loop {
                let lines = service.log();
                let has = |line: &Value| {
                    let text = line.to_string();
                    words.iter().all(|word| text.contains(word))
                };
                if lines.iter().any(has) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let in_time = tokio::time::timeout(PATIENCE, found).await.is_ok();
        assert!(in_time, "the log never said {words:?}\n{}", self.told());
    }

    /// What `holdfast status` says, and whether it finds all well.
    pub(crate) async fn status(&self) -> (String, bool) {
        let mut command = service::command(binary(), &self.home.config(), &self.home.credentials());
        let output = command.arg("status").output().await.expect("it runs");
        (String::from_utf8_lossy(&output.stdout).into_owned(), output.status.success())
    }

    /// Waits until `holdfast status` says all of `words`. Gives all that it says.
    pub(crate) async fn until_status(&self, words: &[&str]) -> String {
        let found = async {
            loop {
                let (said, _) = self.status().await;
                if words.iter().all(|word| said.contains(word)) {
                    return said;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        if let Ok(said) = tokio::time::timeout(PATIENCE, found).await {
            return said;
        }
        panic!("never said {words:?}:\n{}\n{}", self.status().await.0, self.told())
    }

    /// The end of the service's log and all statuses, for a failing test.
    pub(crate) fn told(&self) -> String {
        let mut lines = vec!["statuses:".to_owned()];
        lines.extend(self.home.forge.posts().iter().map(|post| {
            format!("  {} {} {}: {}", &post.commit[..7], post.context, post.state, post.description)
        }));
        lines.push("log:".to_owned());
        let log = self.service.as_ref().map(Service::log).unwrap_or_default();
        lines.extend(log.iter().rev().take(60).rev().map(|line| format!("  {line}")));
        lines.join("\n")
    }
}

/// How many runs of an environment have ended, by the log.
fn ended(service: &Service, environment: &str) -> usize {
    service.log().iter().filter(|line| is_end(line, environment)).count()
}

fn is_end(line: &Value, environment: &str) -> bool {
    line["message"] == "the run ended" && line["environment"] == environment
}

/// All statuses of a commit by context, in the order in which they were posted: state and description.
pub(crate) fn statuses(home: &Home, commit: &str) -> BTreeMap<String, Vec<(String, String)>> {
    let mut all: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
    for post in home.forge.posts().into_iter().filter(|post| post.commit == commit) {
        let context = post.context.trim_start_matches("holdfast/home/").to_owned();
        all.entry(context).or_default().push((post.state, post.description));
    }
    all
}

/// Every context of a commit has exactly one final status, and it is the last.
pub(crate) fn one_final_status(home: &Home, commit: &str) {
    for (context, posts) in statuses(home, commit) {
        let finals = posts.iter().filter(|(state, _)| state != "pending").count();
        assert_eq!(finals, 1, "{context} of {commit}: {posts:?}");
        assert_ne!(posts.last().expect("not empty").0, "pending", "{context} of {commit}: {posts:?}");
    }
}

/// Guests that are no templates.
pub(crate) fn guests(home: &Home) -> Vec<u32> {
    home.proxmox.world().guests.values().filter(|guest| !guest.template).map(|guest| guest.vmid).collect()
}
