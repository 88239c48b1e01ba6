//! Mistakes in chaincode files that are found before anything starts.

use super::cases::{CaseFile, CaseFileError};
use super::definition::ChaincodeSection;
use super::own_package::OwnPackage;
use super::scope::Scope;
use crate::server::{Server, ServerSource};
use fabric_network::topology::{Channel, Rule, Topology};

fn read(text: &str) -> CaseFile {
    CaseFile::from_toml("my.toml", text).unwrap()
}

/// What is wrong with the cases on a network, without the place.
fn misfits(topology: &Topology, cases: &str) -> Vec<String> {
    let file = read(&format!("[chaincode]\nname = 'basic'\nalso_named = ['other']\n{cases}"));
    let scope = Scope { topology, chaincode: &file.chaincode, couchdb: false };
    match file.check_cases(scope) {
        Ok(()) => Vec::new(),
        Err(CaseFileError::Invalid(mistakes)) => mistakes.0.into_iter().map(|mistake| mistake.message).collect(),
        Err(other) => panic!("{other}"),
    }
}

fn case(text: &str) -> String {
    format!("[[case]]\nname = 'a'\nsubmit = ['F']\n{text}\n")
}

/// Two organizations in the first channel, one in the second.
fn two_channels() -> Topology {
    let mut topology = Topology::duo();
    let second = Channel { name: "second".into(), organizations: vec!["Org2".into()], endorsement: Rule::Any };
    topology.channels.push(second);
    topology
}

#[test]
fn all_mistakes_in_a_file_are_reported_with_their_places() {
    let text = "[chaincode]
name = 'lscc'
also_named = ['a--b']
version = 'one two'
label = 'a b'
endorsement_policy = 5
[[case]]
name = ' '
submit = ['F']
status = -1
[[case]]
name = 'twice'
submit = ['F']
error = ''
[[case]]
name = 'twice'
submit = 'F'
[[case]]
name = 'needs'
submit = ['F']
endorsed_by = 0
event = { name = '' }
needs = { organizations = 101, channels = 101 }
[cases]
";
    let error = CaseFile::from_toml("my.toml", text).unwrap_err().to_string();
    let of_cases = [
        "my.toml: case \" \" at line 8, column 8: the name is empty; give what is true when the case passes",
        "my.toml: case \" \" at line 10, column 10: must be at least 200; gateways report a lower status as an error without it",
        "my.toml: case \"twice\" at line 14, column 9: is empty, which every error contains; give a part of the expected text",
        "my.toml: case \"twice\" at line 16, column 8: duplicate name, already used at line 11",
        "my.toml: case \"twice\" at line 17, column 10: invalid type: string \"F\", expected a sequence",
        "my.toml: case \"needs\" at line 21, column 15: must be at least 1",
        "my.toml: case \"needs\" at line 22, column 18: a chaincode event has a name, but this one is empty",
        "my.toml: case \"needs\" at line 23, column 27: no network has 101; at most 100 are possible",
        "my.toml: case \"needs\" at line 23, column 43: no network has 101; at most 100 are possible",
        "my.toml at line 24, column 2: unknown field `cases`, expected one of `chaincode`, `server`, `case`",
    ];
    let policy = "my.toml at line 6, column 22: invalid type: integer `5`, expected a policy such as \"OR('Org1MSP.peer')\", \
                  or the path of a channel policy";
    assert_eq!(error.lines().collect::<Vec<_>>(), [&[policy], &of_cases[..]].concat());
    let error = CaseFile::from_toml("my.toml", &text.replace("endorsement_policy = 5", "")).unwrap_err().to_string();
    let names = [
        "my.toml at line 2, column 8: invalid chaincode name `lscc`: it is reserved for a system chaincode; use another name",
        "my.toml at line 3, column 15: invalid chaincode name `a--b`: use letters and digits, with single `-` and `_` between them",
        "my.toml at line 4, column 11: invalid chaincode version `one two`: use letters, digits and `_.+-`",
        "my.toml at line 5, column 9: invalid package label `a b`: use letters, digits and `_.+-`, starting with a letter or digit",
    ];
    assert_eq!(error.lines().collect::<Vec<_>>(), [&names[..], &of_cases[..]].concat());
    let error = CaseFile::from_toml("my.toml", "a = \nb = 'x\n[[case]]\n").unwrap_err().to_string();
    assert!(error.contains("my.toml at line 1, column ") && error.contains("my.toml at line 2, column "), "{error}");
}

#[test]
fn a_name_that_does_not_exist_is_reported_with_those_that_do() {
    let duo = Topology::duo();
    for (text, expected) in [
        ("channel = 'mychanel'", "unknown channel mychanel; the network has mychannel"),
        ("identity = 'User9@Org1'", "unknown identity User9@Org1; the channel mychannel has User1@Org1, Admin@Org1, "),
        ("identity = 'Admin@Ogr1'", "unknown identity Admin@Ogr1; the channel mychannel has "),
        ("endorsing_organizations = ['Org3']", "unknown organization Org3; the channel mychannel has Org1, Org2"),
        (
            "chaincode = 'nowhere'",
            "unknown chaincode nowhere; the run deploys basic, other; to check the answer, expect",
        ),
        ("endorsed_by = 3", "3 organizations cannot endorse; the channel mychannel has 2"),
        ("needs = { organizations = 2 }\nidentity = 'User1@Org3'", "unknown identity User1@Org3"),
    ] {
        let found = misfits(&duo, &case(text));
        assert!(found.len() == 1 && found[0].starts_with(expected), "{text}: {found:?}");
    }
    let found = misfits(&two_channels(), &case("channel = 'second'\nidentity = 'User1@Org1'"));
    assert_eq!(found, ["unknown identity User1@Org1; the channel second has User1@Org2, Admin@Org2"]);
    for text in [
        "",
        "chaincode = 'other'",
        "chaincode = 'qscc'",
        "chaincode = 'nowhere'\nerror = 'no peers'",
        "channel = 'mychannel'\nidentity = 'Admin@org2.example.com'",
        "endorsing_organizations = ['Org1', 'Org2MSP']\nendorsed_by = 2",
    ] {
        assert_eq!(misfits(&duo, &case(text)), [""; 0], "{text}");
    }
}

#[test]
fn a_case_that_is_not_run_may_name_what_another_network_has() {
    let solo = Topology::solo();
    for text in [
        "needs = { organizations = 2 }\nidentity = 'User1@Org2'\nendorsing_organizations = ['Org2']\nendorsed_by = 2",
        "needs = { channels = 2 }\nchannel = 'second'",
        "needs = { couchdb = true }\nidentity = 'User1@Org2'",
    ] {
        assert_eq!(misfits(&solo, &case(text)), [""; 0], "{text}");
    }
    for text in
        ["needs = { organizations = 2 }\nchannel = 'second'", "needs = { organizations = 1 }\nidentity = 'User1@Org2'"]
    {
        assert_eq!(misfits(&solo, &case(text)).len(), 1, "{text}");
    }
}

#[test]
fn a_policy_names_only_msps_of_each_channel() {
    let text = "[chaincode]
endorsement_policy = \"OR('Org1MSP.peer', 'org0-example-com.member')\"
[[chaincode.collections]]
name = 'secrets'
policy = \"OR('Org2MSP.member', 'OrdererMSP.member')\"
endorsement_policy = \"AND('Org3MSP.peer')\"
[[chaincode.collections]]
name = 'more'
policy = \"OR('Org2MSP.member')\"
endorsement_policy = '/Channel/Application/Endorsement'
";
    let file = read(text);
    let check = |topology: &Topology| {
        let scope = Scope { topology, chaincode: &file.chaincode, couchdb: false };
        file.check_definition(scope).map_err(|error| error.to_string())
    };
    assert_eq!(
        check(&Topology::duo()).unwrap_err().lines().collect::<Vec<_>>(),
        [
            "my.toml at line 2, column 22: the endorsement policy names the MSP org0-example-com, but the channel mychannel has only Org1MSP, Org2MSP",
            "my.toml at line 6, column 22: the endorsement policy of the collection secrets names the MSP Org3MSP, but the channel mychannel has only Org1MSP, Org2MSP",
        ]
    );
    let second = check(&two_channels()).unwrap_err();
    let org1 = "my.toml at line 2, column 22: the endorsement policy names the MSP Org1MSP, but the channel second has only Org2MSP";
    assert!(second.lines().any(|line| line == org1), "{second}");
    // An organization of another channel may be named where it is not needed, but not in a collection.
    for (section, refused) in [
        ("endorsement_policy = \"OR('Org1MSP.peer', 'Org2MSP.peer')\"", false),
        (
            "endorsement_policy = \"OutOf(1, 'Org2MSP.peer', 'Org1MSP.peer', AND('Org1MSP.peer', 'Org2MSP.peer'))\"",
            false,
        ),
        ("endorsement_policy = \"AND('Org1MSP.peer', 'Org2MSP.peer')\"", true),
        ("endorsement_policy = \"OR('Org1MSP.peer', 'Org2MSP.peer', 'Org3MSP.peer')\"", true),
        ("[[chaincode.collections]]\nname = 'more'\npolicy = \"OR('Org1MSP.member', 'Org2MSP.member')\"", true),
    ] {
        let file = read(&format!("[chaincode]\n{section}\n"));
        let (topology, chaincode) = (two_channels(), &file.chaincode);
        let outcome = file.check_definition(Scope { topology: &topology, chaincode, couchdb: false });
        assert_eq!(outcome.is_err(), refused, "{section}: {outcome:?}");
    }
    let of_channel = read("[chaincode]\nendorsement_policy = '/Channel/Application/Endorsement'\n");
    let (topology, chaincode) = (Topology::solo(), &of_channel.chaincode);
    assert!(of_channel.check_definition(Scope { topology: &topology, chaincode, couchdb: false }).is_ok());
}

#[test]
fn the_definition_of_a_program_is_checked_too() {
    let chaincode = ChaincodeSection { name: Some(super::definition::Name("my.cc".into())), ..Default::default() };
    let file = CaseFile::of_definition(chaincode);
    let topology = Topology::solo();
    let scope = Scope { topology: &topology, chaincode: &file.chaincode, couchdb: false };
    let error = file.check_definition(scope).unwrap_err().to_string();
    assert!(error.starts_with("invalid chaincode name `my.cc`: use letters"), "{error}");
    let long = "[chaincode]\nname = 'NAME'\n".replace("NAME", &"x".repeat(170));
    let error = CaseFile::from_toml("my.toml", &long).unwrap_err().to_string();
    assert!(error.ends_with("it has 174 characters, at most 173 are possible; give a `label`"), "{error}");
    assert!(CaseFile::from_toml("my.toml", &format!("{long}label = 'x'\n")).is_ok());
}

#[test]
fn a_long_value_is_cut_and_many_mistakes_are_counted() {
    let long = "x".repeat(400_000);
    for text in [
        format!("[[case]]\nname = 'a'\nsubmit = '{long}'\n"),
        format!("[[case]]\nname = '{long}'\nsubmit = []\n"),
        format!("[[case]]\nname = 'a'\nsubmit = ['F']\nidentity = '{long}'\n"),
        format!("[[case]]\nname = 'a'\nsubmit = ['F']\n{long} = 1\n"),
        format!("[chaincode]\nname = '{long}'\n"),
        format!("[chaincode]\nendorsement_policy = '{long}'\n"),
        format!("{long} = 1\n"),
        format!("a = {long}\n"),
    ] {
        let error = CaseFile::from_toml("my.toml", &text).unwrap_err().to_string();
        assert!(error.len() < 3000, "{} bytes: {}", error.len(), &error[..1000]);
    }
    let many: Vec<String> = (0..1000).map(|number| format!("[[case]]\nname = '{number}'\nsubmit = []\n")).collect();
    let error = CaseFile::from_toml("my.toml", &many.concat()).unwrap_err().to_string();
    assert!(error.lines().count() == 51 && error.ends_with("… and 950 more mistakes"), "{error}");
}

#[test]
fn a_package_has_one_server() {
    let package = Some(OwnPackage::File("own.tar.gz".into()));
    let chaincode = ChaincodeSection { package, ..Default::default() };
    let server = Server::new(ServerSource::default(), "--chaincode");
    assert_eq!(chaincode.check_server(&server), Ok(()));
    let reason = chaincode.check_server(&Server { per_organization: true, ..server }).unwrap_err();
    assert!(reason.starts_with("`per_organization` needs a package for each organization"), "{reason}");
}
