//! `docs/admin-protocol.md` tells what the code does.

use std::fs;
use std::path::PathBuf;

use grace_ipc::codec;
use grace_ipc::frame::{self, TO_SERVER_BYTES_MAX};
use grace_ipc::message::{Request, ServerMessage};

use crate::samples;

fn document() -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/admin-protocol.md");
    fs::read_to_string(path).unwrap()
}

/// Does a line of a table begin with these cells?
fn has_row(document: &str, cells: &[&str]) -> bool {
    document.lines().any(|line| {
        let mut found = line.trim().trim_matches('|').split('|').map(str::trim);
        cells.iter().all(|cell| found.next() == Some(*cell))
    })
}

#[test]
fn every_message_is_in_the_tables() {
    let document = document();
    for (_, request) in samples::requests() {
        let number = codec::encode(&request.body).unwrap()[0].to_string();
        let rule = request.body.rule();
        let row = [number.as_str(), rule.name, &rule.needs.to_string()];
        assert!(has_row(&document, &row), "no row {row:?}");
    }
    for event in samples::events() {
        let number = codec::encode(&event.kind).unwrap()[0].to_string();
        let row = [number.as_str(), event.kind.name()];
        assert!(has_row(&document, &row), "no row {row:?}");
    }
    for code in samples::CODES {
        let number = codec::encode(&code).unwrap()[0].to_string();
        let row = [number.as_str(), samples::code_name(code)];
        assert!(has_row(&document, &row), "no row {row:?}");
    }
}

/// The worked example is read as a program would read it.
#[test]
fn the_worked_example_is_true() {
    let document = document();
    let example = |title: &str| -> Vec<u8> {
        let (_, after) = document.split_once(title).unwrap();
        let (_, after) = after.split_once("```text\n").unwrap();
        let (block, _) = after.split_once("```").unwrap();
        let bytes = block.lines().flat_map(|line| {
            let (hex, _) = line.split_once("  ").unwrap_or((line, ""));
            hex.split_whitespace().map(|pair| u8::from_str_radix(pair, 16).unwrap())
        });
        bytes.collect()
    };
    let request = example("### The request");
    let (_, expected) = samples::requests()
        .into_iter()
        .find(|(name, _)| name == "request-SubscribeEvents")
        .unwrap();
    assert_eq!(codec::decode::<Request>(&request[4..]).unwrap(), expected);
    let mut frame = Vec::new();
    let body = codec::encode(&expected).unwrap();
    frame::write(&body, TO_SERVER_BYTES_MAX, &mut frame).unwrap();
    assert_eq!(request, frame);

    let push = example("### The push");
    let (_, expected) = samples::event_pushes()
        .into_iter()
        .find(|(name, _)| name == "event-ConnectionOpened")
        .unwrap();
    assert_eq!(codec::decode::<ServerMessage>(&push[4..]).unwrap(), expected);
    assert_eq!(usize::from(push[0]), push.len() - 4);
}
