//! The demo, step by step, as a user would live through it.

mod show;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use crate::git::git;
use crate::home::{Home, Options};
use crate::service::{Service, binary, command};
pub use show::say;
use show::{heading, progress, status_line};

/// How long one step may take.
const PATIENCE: Duration = Duration::from_mins(2);
const ENVIRONMENTS: [&str; 2] = ["core", "kubernetes"];

/// Runs the whole demo.
///
/// # Errors
/// Where a step does not go as it should.
pub async fn run() -> Result<()> {
    let begun = Instant::now();
    let (binary, home, mut service) = begin().await?;
    first_push(&home).await?;
    second_look(&home, &mut service, &binary).await?;
    change(&home, &binary).await?;
    mistake(&home, &binary).await?;
    let well = service.terminate(PATIENCE).await?;
    ensure!(well, "the service did not end well");
    heading(&format!("done in {} s; everything is gone again", begun.elapsed().as_secs()));
    Ok(())
}

/// Makes the home converge, and leaves it to who looks on until Ctrl-C.
///
/// # Errors
/// Where the first convergence does not go as it should.
pub async fn stay() -> Result<()> {
    let (binary, home, mut service) = begin().await?;
    first_push(&home).await?;
    let end = tokio::signal::ctrl_c();
    tokio::pin!(end);
    loop {
        invite(&home, &binary, &service)?;
        tokio::select! {
            told = &mut end => break told?,
            ended = service.ended(Duration::MAX) => ended?,
        }
        heading("the service ended; it is started again, as systemd would");
        tokio::time::sleep(Duration::from_secs(1)).await;
        service = Service::start_heard(&binary, &home.config(), &home.credentials(), progress)?;
    }
    // Ctrl-C at a terminal reaches the service too.
    let well = service.terminate(PATIENCE).await?;
    ensure!(well, "the service did not end well");
    heading("everything is gone again");
    Ok(())
}

/// Builds the service and the home, and starts one in the other.
async fn begin() -> Result<(PathBuf, Home, Service)> {
    let binary = build()?;
    heading(
        "a home on loopback: three Proxmox nodes, Vault, Kubernetes with Argo CD, a forge, an empty repository",
    );
    let options = Options {
        task_time: Duration::from_millis(400),
        sync_time: Duration::from_millis(700),
        ..Options::default()
    };
    let home = Home::start(&options).await?;
    say(&format!("everything lives in {}", home.folder().display()));
    let mut service = Service::start_heard(&binary, &home.config(), &home.credentials(), progress)?;
    service.until_logged("the service started", PATIENCE).await?;
    Ok((binary, home, service))
}

/// Says what can be done with a home that stays.
fn invite(home: &Home, binary: &Path, service: &Service) -> Result<()> {
    let work = home.repository.work();
    for (key, value) in [("user.name", "me"), ("user.email", "me@home.lan")] {
        git(work, &["config", key, value])?;
    }
    git(work, &["push", "--quiet", "--set-upstream", "origin", "main"])?;
    heading("it is yours until Ctrl-C. change something in the infra repository and push it:");
    let (config, credentials) = (home.config(), home.credentials());
    say(&format!("    cd {}", work.display()));
    say("    git commit -a && git push");
    say(&format!(
        "    export HOLDFAST_CONFIG={} CREDENTIALS_DIRECTORY={}",
        config.display(),
        credentials.display()
    ));
    for command in ["validate", "plan .", "plan", "status"] {
        say(&format!("    {} {command}", binary.display()));
    }
    if let Some(id) = service.id() {
        say(&format!("    kill -9 {id}"));
    }
    say(&format!("the hosts' files are below {}", home.folder().join("hosts").display()));
    Ok(())
}

/// The example repository, pushed: everything is made, and the commit turns green.
async fn first_push(home: &Home) -> Result<()> {
    heading(
        "git push: the example repository, with five guests, five hosts, two policies and two applications",
    );
    home.repository.copy_from(&example())?;
    let commit = home.repository.push("the whole home")?;
    converged(home, &commit).await?;
    let world = home.proxmox.world();
    say(&format!(
        "\n{} guests run, {} policies stand in Vault, {} applications in Argo CD",
        world.guests.values().filter(|guest| guest.running && !guest.template).count(),
        home.vault.policies().iter().filter(|name| matches!(name.as_str(), "backup" | "operators")).count(),
        home.kubernetes.objects("applications").len(),
    ));
    Ok(())
}

/// Nothing to do: a restart of the service looks at everything and writes nothing.
async fn second_look(home: &Home, service: &mut Service, binary: &Path) -> Result<()> {
    heading("kill -9, and a new start: it looks at the world again, and writes nothing");
    home.reset();
    service.kill().await?;
    *service = Service::start_heard(binary, &home.config(), &home.credentials(), progress)?;
    for _ in ENVIRONMENTS {
        service.until_logged("the run ended", PATIENCE).await?;
    }
    until_ended(service, ENVIRONMENTS.len()).await?;
    let writes = home.writes();
    for (target, wire) in home.wires() {
        let writes = writes.iter().filter(|write| write.starts_with(target)).count();
        say(&format!("{target}: {} requests, {writes} writes", wire.requests().len()));
    }
    ensure!(writes.is_empty(), "a second look wrote something: {writes:?}");
    let execs: usize = home.guests.hosts().iter().map(|(_, host)| host.wire().execs().len()).sum();
    say(&format!("hosts: {} SSH executions over {} hosts", execs, home.guests.hosts().len()));
    Ok(())
}

/// A change: what it would do is shown, then it is pushed.
async fn change(home: &Home, binary: &Path) -> Result<()> {
    heading("a change: the greeting of two machines, and more memory for the backup machine");
    home.repository
        .write("files/motd", "This machine is looked after by Holdfast, and greets you kindly.\n")?;
    home.repository.edit(
        "environments/core/guests.yaml",
        "memory: 1GiB",
        "memory: 2GiB\n  restart: allowed",
    )?;
    say("\n$ holdfast plan . --environment core\n");
    show(home, binary, &["--log", "error", "plan", ".", "--environment", "core"]).await?;
    say("$ git push");
    let commit = home.repository.push("greet kindly; more memory for backups")?;
    converged(home, &commit).await
}

/// A bad commit: every mistake is told, nothing is changed, and the next push mends it.
async fn mistake(home: &Home, binary: &Path) -> Result<()> {
    heading("a bad commit: two mistakes at once");
    let file = "environments/core/guests.yaml";
    home.repository.edit(file, "cores: 2", "cores: two")?;
    home.repository.edit(file, "onBoot: true", "onBoot: true\n  colour: green")?;
    home.reset();
    let bad = home.repository.push("a hurried change")?;
    let post = home.until_final(&bad, "validate", PATIENCE).await?;
    status_line("validate", &post);
    ensure!(post.state == "failure", "a bad commit has to fail");
    say("\n$ holdfast validate\n");
    show(home, binary, &["validate", "."]).await?;
    ensure!(home.writes().is_empty(), "a bad commit changed something: {:?}", home.writes());
    say("nothing was changed by it. the next push mends it:");
    home.repository.edit(file, "cores: two", "cores: 2")?;
    home.repository.edit(file, "\n  colour: green", "")?;
    let good = home.repository.push("mend the hurried change")?;
    converged(home, &good).await?;
    say("\n$ holdfast status\n");
    show(home, binary, &["status"]).await
}

/// Waits for the final statuses of a commit, shows them, and makes sure that they are green.
async fn converged(home: &Home, commit: &str) -> Result<()> {
    for context in ["validate"].into_iter().chain(ENVIRONMENTS) {
        let post = home.until_final(commit, context, PATIENCE).await?;
        status_line(context, &post);
        ensure!(post.state == "success", "{context} should be green");
    }
    Ok(())
}

async fn until_ended(service: &Service, runs: usize) -> Result<()> {
    let ended = async {
        while service.log().iter().filter(|line| line["message"] == "the run ended").count() < runs {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, ended).await.context("the runs did not end")
}

/// Runs a command of the service in the working copy, and shows what it prints.
async fn show(home: &Home, binary: &Path, arguments: &[&str]) -> Result<()> {
    let output = command(binary, &home.config(), &home.credentials())
        .args(arguments)
        .current_dir(home.repository.work())
        .output()
        .await?;
    let printed = if output.stdout.is_empty() { output.stderr } else { output.stdout };
    for line in String::from_utf8_lossy(&printed).lines() {
        say(&format!("    {line}"));
    }
    Ok(())
}

/// The example repository of this project.
pub fn example() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../example-repo")
}

/// Builds the service where it is not built yet, or older than its sources.
fn build() -> Result<PathBuf> {
    heading("building the service");
    let status = std::process::Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned()))
        .args(["build", "--quiet", "--locked", "--bin", "holdfast"])
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."))
        .status()
        .context("running cargo")?;
    ensure!(status.success(), "the service could not be built");
    binary()
}
