//! A step: a command that is named as it starts, timed, and the end of the run if it fails.

use std::{
    env,
    ffi::OsStr,
    fmt,
    process::{Command, Stdio},
};

/// A chore is done, or ends at its first failure.
pub(crate) type Done = Result<(), Failure>;

/// Why a chore ended, in one sentence.
#[derive(Debug)]
pub(crate) struct Failure(String);

/// The cargo that runs this program.
pub(crate) fn cargo<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(args);
    command
}

/// Runs a command under a name. What it prints is printed.
pub(crate) fn run(name: &str, command: &mut Command) -> Done {
    step(name, || {
        let status = command.status().map_err(|error| Failure::not_started(command, &error))?;
        if status.success() { Ok(()) } else { Err(Failure::new(format!("{status} from: {}", shown(command)))) }
    })
}

/// Runs a part of this program under a name.
pub(crate) fn step(name: &str, part: impl FnOnce() -> Done) -> Done {
    eprintln!("\n=== {name}");
    let watch = Stopwatch::start();
    part().map_err(|Failure(why)| Failure(format!("{name}: {why}")))?;
    eprintln!("=== {name}: done in {watch}");
    Ok(())
}

/// What a command prints to its standard output.
pub(crate) fn output_of(command: &mut Command) -> Result<String, Failure> {
    let output = command.stderr(Stdio::inherit()).output().map_err(|error| Failure::not_started(command, &error))?;
    if !output.status.success() {
        return Err(Failure::new(format!("{} from: {}", output.status, shown(command))));
    }
    String::from_utf8(output.stdout).map_err(|_| Failure::new(format!("not UTF-8, from: {}", shown(command))))
}

/// Whether a program is there to be started.
pub(crate) fn is_installed(program: &str) -> bool {
    let program = format!("{program}{}", env::consts::EXE_SUFFIX);
    env::split_paths(&env::var_os("PATH").unwrap_or_default()).any(|dir| dir.join(&program).is_file())
}

/// The command as one would type it, with the environment that it adds.
fn shown(command: &Command) -> String {
    let quoted = |text: &OsStr| {
        let text = text.to_string_lossy();
        if text.contains(' ') { format!("'{text}'") } else { text.into_owned() }
    };
    let set = command.get_envs().filter_map(|(name, value)| Some((name, value?)));
    let env = set.map(|(name, value)| format!("{}={}", name.to_string_lossy(), quoted(value)));
    let program = if command.get_program() == env::var_os("CARGO").unwrap_or_default() {
        "cargo".to_owned()
    } else {
        quoted(command.get_program())
    };
    env.chain([program]).chain(command.get_args().map(quoted)).collect::<Vec<_>>().join(" ")
}

// ===== impl Failure =====

impl Failure {
    pub(crate) fn new(why: impl Into<String>) -> Self {
        Self(why.into())
    }

    fn not_started(command: &Command, error: &std::io::Error) -> Self {
        Self(format!("could not start `{}`: {error}", shown(command)))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

// ===== Stopwatch =====

use real_time::Stopwatch;

#[allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "commands take real time; nothing here is paused"
)]
mod real_time {
    use std::{fmt, time::Instant};

    /// Shows the time since it was started.
    pub(super) struct Stopwatch(Instant);

    impl Stopwatch {
        pub(super) fn start() -> Self {
            Self(Instant::now())
        }
    }

    impl fmt::Display for Stopwatch {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            let tenths = self.0.elapsed().as_millis() / 100;
            write!(f, "{}.{} s", tenths / 10, tenths % 10)
        }
    }
}
