//! The tour as a user meets it: the real binary, and all that it claims.

use std::{
    net::{Ipv4Addr, TcpListener},
    process::{Command, Output},
};

/// Of its sixteen ports. Apart from those of the other tests, so that they may run at once.
fn port() -> u16 {
    30_000 + u16::try_from(std::process::id() % 100).expect("small") * 16
}

fn tour(port: u16) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bff"));
    command.args(["tour", "--port", &port.to_string()]).output().expect("it ran")
}

#[test]
fn every_claim_of_the_tour_holds() {
    let output = tour(port());
    let said = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    // Nothing was left out.
    let steps = said.lines().filter(|line| line.starts_with(|first: char| first.is_ascii_digit())).count();
    let held = said.lines().filter(|line| line.starts_with("   ok ")).count();
    assert_eq!(steps, 12, "{said}");
    assert!(said.contains(&format!("All {held} claims held")) && held >= 55, "{said}");
}

#[test]
fn a_tour_beside_another_program_says_which_ports_to_take() {
    let port = 29_000 + port() % 100;
    let _listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("a free port");
    let output = tour(port);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).expect("UTF-8");
    assert!(said.contains(&format!("cargo run -p bff -- tour --port {}", port + 1000)), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
}
