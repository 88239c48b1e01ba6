//! The `fabric-harness` program: runs the command of the command line.

pub mod cli;

use cli::{Cli, Command};

use crate::console::progress::Live;
use crate::console::timeline::{Step, Timeline, table};
use crate::console::{self, ExitCode, Paint, could_not_run, error_text, print};
use crate::daemon;
use crate::evidence::Evidence;
use crate::interrupt::Interrupt;
use crate::network::choice::choose_and_print;
use crate::options::{E2eOptions, Keep};
use crate::plan::Plan;
use crate::report::document::Document;
use crate::report::{html, junit, text};
use crate::run::{Finished, run};
use crate::runtime::registry::reap;
use crate::runtime::{Action, Runtime};
use clap::{CommandFactory as _, Parser as _};
use std::ffi::OsString;
use std::time::Duration;

/// Runs this program: as an external builder if a peer has started it as one, otherwise the command of the command line.
/// A process calls it once, before it starts threads.
pub fn main() -> std::process::ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    if arguments.first().is_some_and(|program| ccaas_builder::program::called_as(program).is_some()) {
        return ccaas_builder::program::main(arguments);
    }
    match Cli::parse().command {
        Command::SampleChaincode(options) => chaincode_sample::program::run(chaincode_sample::contract(), &options),
        command => match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
            Ok(runtime) => runtime.block_on(Box::pin(program(command))).into(),
            Err(error) => could_not_run(&format!("cannot start: {error}")).into(),
        },
    }
}

/// Runs the command and returns the exit code.
async fn program(command: Command) -> ExitCode {
    let own_program = std::env::current_exe().ok();
    match command {
        // `main` runs it.
        Command::SampleChaincode(_) => ExitCode::CouldNotRun,
        Command::E2e(mut options) => {
            options.network.own_program = own_program;
            console::log(options.network.verbose);
            e2e(&options).await
        }
        Command::Probe(options) => crate::probe::probe(&options).await,
        Command::Explain(options) => crate::explain::explain(&options),
        Command::Bundle(options) => crate::bundle::bundle(&options),
        Command::Deploy(options) => crate::bundle::deploy(&options).await,
        Command::Ready(options) => crate::bundle::ready(&options).await,
        Command::Install(options) => crate::bundle::install(&options),
        Command::Up(options) => daemon::up(&options).await,
        Command::Daemon(mut options) => {
            options.network.own_program = own_program;
            Box::pin(daemon::run(&options)).await
        }
        Command::Down(options) => daemon::down(&options).await,
        Command::Status(options) => daemon::status(&options).await,
        Command::Logs(options) => daemon::logs(&options).await,
        Command::Restart(options) => daemon::control(Action::Restart, &options).await,
        Command::Stop(options) => daemon::control(Action::Stop, &options).await,
        Command::Kill(options) => daemon::control(Action::Kill, &options).await,
        Command::Start(options) => daemon::control(Action::Start, &options).await,
        Command::Snapshot(options) => daemon::snapshot(&options).await,
        Command::Restore(options) => daemon::restore(&options).await,
        Command::Doctor(options) => crate::doctor::doctor(&options).await,
        Command::Package(options) => crate::packaging::package(&options),
        Command::Inspect(options) => crate::packaging::inspect(&options),
        Command::Completions { shell } => {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "fabric-harness", &mut text);
            print(String::from_utf8_lossy(&text).trim_end());
            ExitCode::Passed
        }
        // The reaper blocks, and does not use the asynchronous runtime.
        Command::Reap { directory, state } => {
            // The next network there removes what cannot be removed now.
            let then = move || drop(state.map(|state| daemon::remove_dead(&state)));
            if reap(&directory, then) == std::process::ExitCode::SUCCESS {
                ExitCode::Passed
            } else {
                ExitCode::CouldNotRun
            }
        }
    }
}

async fn e2e(options: &E2eOptions) -> ExitCode {
    let plan = match Plan::resolve(options) {
        Ok(plan) => plan,
        Err(mistakes) => return could_not_run(&mistakes.to_string()),
    };
    match Interrupt::listen() {
        Ok(interrupt) => repeat(&plan, &interrupt).await,
        Err(error) => could_not_run(&format!("cannot handle signals: {error}")),
    }
}

/// Runs the plan as often as requested. Returns the worst exit code.
async fn repeat(plan: &Plan, interrupt: &Interrupt) -> ExitCode {
    let runtime = match choose_and_print(&plan.network, plan.quiet, interrupt, &["reap".as_ref()]).await {
        Ok(runtime) => runtime,
        Err(error) => return could_not_run(&error_text(&error)),
    };
    let mut worst = ExitCode::Passed;
    let (mut runs, mut to_first_query): (Vec<Vec<Step>>, Vec<Duration>) = (Vec::new(), Vec::new());
    for count in 1..=plan.repeat {
        let timeline = Timeline::begin(plan.quiet || plan.repeat > 1);
        let (code, finished) = once(plan, &*runtime, &timeline, interrupt).await;
        if let Some(finished) = finished {
            runs.push(timeline.steps());
            to_first_query.push(finished.to_first_query);
            if plan.repeat > 1 {
                let milliseconds = finished.to_first_query.as_millis();
                print(format_args!("run {count} of {}: first query's answer after {milliseconds} ms", plan.repeat));
            }
        }
        if code as u8 > worst as u8 {
            worst = code;
        }
        if code == ExitCode::CouldNotRun {
            break;
        }
    }
    if plan.repeat > 1 && !runs.is_empty() {
        print(format_args!("\n{}", table(&runs, &to_first_query).trim_end()));
    }
    worst
}

/// Runs the plan once, prints the results, and writes report and evidence.
async fn once(
    plan: &Plan,
    runtime: &dyn Runtime,
    timeline: &Timeline,
    interrupt: &Interrupt,
) -> (ExitCode, Option<Finished>) {
    let mut evidence = Evidence::default();
    let live = Live::begin(!plan.quiet && plan.repeat == 1 && plan.verbosity < 2);
    let result = run(plan, runtime, timeline, &mut evidence, interrupt).await;
    let code = match &result {
        Ok(finished) => finished.report.exit_code(),
        Err(_) => ExitCode::CouldNotRun,
    };
    drop(live);
    let document = Document::new(plan, runtime, timeline, &result, &evidence);
    print_results(plan, &document, result.as_ref().ok(), &evidence);
    let text = format!(
        "{}{}\n{}",
        text::cases(&document, 0, Paint::default()),
        text::counts(&document),
        text::failures(&document, plan.verbosity, Paint::default())
    );
    let error = document.error.as_ref().map(|error| format!("{error}\n")).unwrap_or_default();
    evidence.add("report.txt", error + &text);
    let written = write_report(plan, runtime, &document, code, evidence);
    if plan.quiet && result.is_ok() && plan.repeat == 1 {
        print(text::counts(&document));
    }
    let code = if written { code } else { ExitCode::CouldNotRun };
    (code, result.ok())
}

/// Prints the results of a run. With `quiet`, only failures; with several runs, only those that failed.
fn print_results(plan: &Plan, document: &Document, finished: Option<&Finished>, evidence: &Evidence) {
    let paint = Paint::for_stdout();
    let passed = document.outcome == "passed";
    if let Some(finished) = finished
        && !plan.quiet
        && (plan.repeat == 1 || !passed)
    {
        let (cases, counts) = (text::cases(document, plan.verbosity, paint), text::counts(document));
        let answer = finished.to_first_query.as_millis();
        print(format_args!("\n{cases}{counts}\nfirst query's answer after {answer} ms"));
    }
    if let Some(error) = &document.error {
        eprintln!("error: {error}");
    }
    if !passed && plan.verbosity > 0 {
        evidence.print_logs();
    }
    let failures = text::failures(document, plan.verbosity, paint);
    if !failures.is_empty() {
        print(failures.trim_end());
    }
}

/// Writes the report, and the evidence if requested, and prints their directory. Returns whether what was requested is
/// written.
fn write_report(plan: &Plan, runtime: &dyn Runtime, document: &Document, code: ExitCode, evidence: Evidence) -> bool {
    let passed = code == ExitCode::Passed;
    if plan.keep == Keep::Never || (passed && plan.repeat > 1 && plan.keep != Keep::Always) {
        return true;
    }
    let mut reports = Evidence::default();
    reports.add("report.json", document.to_json());
    reports.add("junit.xml", junit::to_xml(document));
    reports.add("report.html", html::to_html(document, &evidence));
    let all = !passed || plan.keep == Keep::Always;
    // The report first: a full disk may have room for it alone.
    let mut kept = reports;
    kept.append(if all { evidence } else { Evidence::default() });
    match kept.write_to(&plan.evidence, runtime.name()) {
        Ok(directory) if !plan.quiet || !passed => print(text::places(&directory, all)),
        Ok(_) => {}
        Err(error) => {
            eprintln!("error: {}; free space there, or give another directory with --evidence", error_text(&error));
            return false;
        }
    }
    true
}
