use super::*;

/// A folder of its own that goes with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("countersign-survey-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }
    fn file(&self, name: &str) -> PathBuf { self.0.join(name) }
}

impl Drop for Folder {
    fn drop(&mut self) { let _ = std::fs::remove_dir_all(&self.0); }
}

const EXAMPLE: &str = include_str!("../../../../docs/field-notes.example.csv");

fn day() -> Date { Date::parse("2026-03-02").unwrap() }

fn plain(write: impl FnOnce(&mut Vec<u8>) -> std::io::Result<()>) -> String {
    let mut out = Vec::new();
    write(&mut out).unwrap();
    anstream::adapter::strip_str(&String::from_utf8(out).unwrap()).to_string()
}

#[test]
fn a_note_is_asked_for_question_by_question() {
    let typed = "\nExample Bank\nfinance\n2.3.2026\n\n\nnumber, shouting\nnumber,ivr\naccount; name\npin\naddress\naddress:identified\nperhaps\nno\ny\n\nTold the address, then asked.\n";
    let mut said = Vec::new();
    let note = ask::note(&mut typed.as_bytes(), &mut said, day()).unwrap();
    let wanted = "Example Bank,finance,2026-03-02,inbound,number;ivr,name;account,pin,address:identified,no,yes,,\"Told the address, then asked.\"\n";
    assert_eq!(csv::row(&note), wanted);
    let said = anstream::adapter::strip_str(&String::from_utf8(said).unwrap()).to_string();
    for text in ["Center [nothing]: ", "Date [2026-03-02]: ", "write a day that exists", "write one of number, ivr, agent", "write one of name, address, email", "write yes or no"] {
        assert!(said.contains(text), "{text} in\n{said}");
    }
    // What contradicts itself is asked for again; a center without a telephone has no more questions.
    let typed = "A\n\n\n\nagent\n\n\n\n\n\n\n\nA\n\n\nno_phone\nOnly chat.\n";
    let mut said = Vec::new();
    let note = ask::note(&mut typed.as_bytes(), &mut said, day()).unwrap();
    assert_eq!((note.reached, note.remarks.as_str()), (Reached::NoPhone, "Only chat."));
    assert!(String::from_utf8(said).unwrap().contains("is empty although the caller was asked"));
    // Nothing is made up when the answers end.
    let cut = ask::note(&mut "Example Bank\nfinance\n".as_bytes(), &mut Vec::new(), day());
    assert!(cut.unwrap_err().to_string().contains("nothing was written"));
}

#[test]
fn a_broken_line_stays_and_the_rest_is_worked_with() {
    let folder = Folder::new("broken");
    let file = folder.file("notes.csv");
    let broken = "\"open,never,closed\nExample X,,2026-99-99,inbound,,,,,,,,\n";
    std::fs::write(&file, format!("{EXAMPLE}{broken}").trim_end()).unwrap();
    let note = Note { factors: [Factor::Pin].into(), ..Note::new("=Example", day()) };
    let failed = add_note(&file, &note, &mut Vec::new()).unwrap_err();
    assert!(failed.to_string().contains("2 records of"), "{failed}");
    let text = std::fs::read_to_string(&file).unwrap();
    assert_eq!(text, format!("{EXAMPLE}{broken}'=Example,,2026-03-02,inbound,,,pin,,no,no,,\n"));
    assert_eq!(Book::open(&file).unwrap().notes().last(), Some(&&note));
    // A file that is no list of notes is not written over.
    std::fs::write(&file, "name,shoe size\nAna,38\n").unwrap();
    let failed = add_note(&file, &note, &mut Vec::new()).unwrap_err();
    assert!(failed.to_string().contains("line 1, column 1: \"name\" stands where center belongs"), "{failed}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "name,shoe size\nAna,38\n");
    std::fs::write(&file, b"center\xff").unwrap();
    assert!(Book::open(&file).err().unwrap().to_string().contains("is not UTF-8 at byte 6"));
    assert_eq!(std::fs::read_dir(&folder.0).unwrap().count(), 1, "nothing is left beside it");
}

#[test]
fn what_is_there_already_is_not_taken_twice() {
    let folder = Folder::new("twice");
    let (file, other) = (folder.file("notes.csv"), folder.file("other.csv"));
    std::fs::write(&other, EXAMPLE).unwrap();
    for _ in 0..2 {
        import(&file, &other).unwrap();
        assert_eq!(std::fs::read_to_string(&file).unwrap(), EXAMPLE);
    }
    assert!(import(&file, &folder.file("nowhere.csv")).unwrap_err().to_string().contains("is not there"));
}

/// What an interrupted program left, and what another one writes at the same time, is in nobody's way.
#[test]
#[cfg(unix)]
fn files_are_put_in_place_whole() {
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    let folder = Folder::new("whole");
    let (real, link) = (folder.file("real.csv"), folder.file("link.csv"));
    std::fs::write(&real, EXAMPLE).unwrap();
    std::fs::set_permissions(&real, std::fs::Permissions::from_mode(0o600)).unwrap();
    symlink(&real, &link).unwrap();
    write_whole(&link, "new").unwrap();
    assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(std::fs::read_to_string(&real).unwrap(), "new");
    assert_eq!(std::fs::metadata(&real).unwrap().permissions().mode() & 0o777, 0o600, "it is as private as before");
    let beside = folder.file(&format!(".real.csv.{}.new", std::process::id()));
    std::fs::write(&beside, "of somebody else").unwrap();
    assert!(write_whole(&real, "newer").is_err());
    assert_eq!((std::fs::read_to_string(&real).unwrap().as_str(), std::fs::read_to_string(&beside).unwrap().as_str()), ("new", "of somebody else"));
    assert!(write_whole(&folder.file("no/such/folder.csv"), "x").is_err());
}

#[test]
fn tables_line_up() {
    let folder = Folder::new("tables");
    let file = folder.file("notes.csv");
    let long = Note { factors: [Factor::Pin].into(), ..Note::new(&"Ünübersehbar 長".repeat(8), day()) };
    std::fs::write(&file, format!("{EXAMPLE}{}", csv::row(&long))).unwrap();
    let book = Book::open(&file).unwrap();
    let listed = plain(|out| list(&book, out));
    let place = |line: &str, word: &str| line.split(word).next().unwrap().chars().count();
    let lines: Vec<&str> = listed.lines().collect();
    assert_eq!((place(lines[0], "center"), place(lines[1], "Example")), (18, 18), "{listed}");
    assert_eq!(place(lines[0], "verdict"), place(lines[1], "okay"), "{listed}");
    assert_eq!(place(lines[12], "good"), place(lines[0], "verdict"), "{listed}");
    assert!(listed.ends_with("12 calls. good 4, okay 2, bad 2, oh no 3; not graded 1.\n"), "{listed}");
    let graded = plain(|out| grades(&book, out));
    assert!(graded.contains("changes an account with no authentication") && graded.contains("not graded"), "{graded}");
    assert!(place(graded.lines().next().unwrap(), "because") == place(graded.lines().nth(2).unwrap(), "at least one real secret"), "{graded}");
    let shown = plain(|out| show(book.notes()[3], out));
    for text in ["Example Inn (travel), 2026-03-03", "told                 phone number once identified", "oh no Told to somebody who had proved nothing: phone number. [gives_identity_data]"] {
        assert!(shown.contains(text), "{text} in\n{shown}");
    }
}

#[test]
fn flags_make_a_note() {
    let add = Add { center: Some(" Example Bank ".into()), proofs: vec![Factor::Pin], changed: vec![(Change::Address, Standing::Authenticated), (Change::Address, Standing::Identified)], ..Add::default() };
    assert!(!add.is_empty());
    assert_eq!(csv::row(&add.note(day()).unwrap()), "Example Bank,,2026-03-02,inbound,,,pin,,no,no,address:identified,\n");
    assert!(Add::default().is_empty());
    let nameless = Add { asked_number: true, ..Add::default() };
    assert!(nameless.note(day()).unwrap_err().to_string().contains("--center is missing"));
    assert!(pair::<Item>("name").is_err() && pair::<Item>("name:never").is_err() && word::<Way>("Number").is_err());
}
