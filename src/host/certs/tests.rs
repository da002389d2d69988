//! Certificates made by rcgen, and by the real openssl where it is installed.

use std::process::Command;

use tempfile::TempDir;

use super::*;

struct Pair {
    folder: TempDir,
}

impl Pair {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn self_signed(host: &str, names: &[&str]) -> Self {
        let pair = Self::new();
        let (certificate, key) = self_signed(host, names, 90).unwrap();
        write_pair(
            &pair.path("cert.pem"),
            &pair.path("key.pem"),
            &certificate,
            &key,
        )
        .unwrap();
        pair
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::write(self.path(name), content).unwrap();
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o600)).unwrap();
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    fn inspect(&self) -> Inspection {
        self.inspect_for("h.example.org", false, Timestamp::now())
    }

    fn inspect_for(&self, host: &str, wildcard: bool, now: Timestamp) -> Inspection {
        let found = inspect(
            &self.path("cert.pem"),
            &self.path("key.pem"),
            host,
            wildcard,
            now,
        );
        for problem in &found.problems {
            let fault = problem.fault();
            let whole =
                !fault.why.is_empty() && !fault.next.is_empty() && !fault.evidence.is_empty();
            assert!(whole && fault.title.starts_with(host), "{fault:?}");
        }
        found
    }

    fn troubles(&self) -> Vec<CertTrouble> {
        troubles(&self.inspect())
    }

    /// Runs openssl in the folder; false where it is not installed.
    fn openssl(&self, arguments: &str) -> bool {
        let ran = Command::new("openssl")
            .args(arguments.split_ascii_whitespace())
            .current_dir(self.folder.path())
            .output();
        let Ok(output) = ran else { return false };
        assert!(
            output.status.success(),
            "{arguments}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        let _ = fs::set_permissions(self.path("key.pem"), fs::Permissions::from_mode(0o600));
        true
    }
}

fn troubles(inspection: &Inspection) -> Vec<CertTrouble> {
    inspection
        .problems
        .iter()
        .map(|problem| problem.trouble.clone())
        .collect()
}

const REQUEST: &str = "req -x509 -new -key key.pem -out cert.pem -days 90 -subj /CN=h.example.org -addext subjectAltName=DNS:h.example.org";

#[test]
fn our_own_certificate_has_no_problem() {
    let pair = Pair::self_signed(
        "h.example.org",
        &["*.h.example.org", "10.0.10.4", "h.example.org"],
    );
    let found = pair.inspect_for("H.example.org.", true, Timestamp::now());
    assert_eq!(found.problems, []);
    let info = found.info.unwrap();
    assert_eq!(
        info.names,
        ["h.example.org", "*.h.example.org", "10.0.10.4"]
    );
    assert!(info.self_signed);
    assert_eq!(info.subject, "CN=h.example.org");
    assert_eq!(
        pair.inspect_for("10.0.10.4", false, Timestamp::now())
            .problems,
        []
    );
    let mode = |name: &str| fs::metadata(pair.path(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("cert.pem"), mode("key.pem")), (0o644, 0o600));
    assert_eq!(fs::read_dir(pair.folder.path()).unwrap().count(), 2);
}

#[test]
fn nothing_is_ever_overwritten() {
    for present in ["cert.pem", "key.pem"] {
        let pair = Pair::new();
        pair.write(present, "bought");
        let fault =
            write_pair(&pair.path("cert.pem"), &pair.path("key.pem"), "c", "k").unwrap_err();
        assert!(fault.title.contains("exists already"), "{fault:?}");
        assert_eq!(pair.text(present), "bought");
        assert_eq!(fs::read_dir(pair.folder.path()).unwrap().count(), 1);
    }
    let pair = Pair::new();
    let nowhere = pair.path("no/such/folder/cert.pem");
    let fault = write_pair(&nowhere, &pair.path("key.pem"), "c", "k").unwrap_err();
    assert!(fault.title.contains("could not be written"), "{fault:?}");
    assert_eq!(fs::read_dir(pair.folder.path()).unwrap().count(), 0);
}

#[test]
fn files_that_are_not_what_they_should_be() {
    use CertFile::{Certificate, Key};
    let pair = Pair::new();
    assert_eq!(
        pair.troubles(),
        [CertTrouble::Missing(Certificate), CertTrouble::Missing(Key)]
    );
    fs::create_dir(pair.path("cert.pem")).unwrap();
    pair.write("key.pem", "\n");
    assert_eq!(
        pair.troubles(),
        [CertTrouble::Folder(Certificate), CertTrouble::Empty(Key)]
    );

    let made = Pair::self_signed("h.example.org", &[]);
    let pair = Pair::new();
    // The two were swapped.
    pair.write("cert.pem", made.text("key.pem"));
    pair.write("key.pem", made.text("cert.pem"));
    assert_eq!(
        pair.troubles(),
        [
            CertTrouble::NotPem(Certificate, "a private key".into()),
            CertTrouble::NotPem(Key, "a certificate".into()),
        ]
    );
    pair.write("cert.pem", [0x30, 0x82, 1, 2]);
    pair.write("key.pem", "-----BEGIN PRIVATE KEY-----\nAAAA\n");
    let found = pair.troubles();
    assert_eq!(
        found[0],
        CertTrouble::NotPem(Certificate, "binary (DER or PKCS#12)".into())
    );
    assert!(
        matches!(&found[1], CertTrouble::NotPem(Key, what) if what.contains("cut off")),
        "{found:?}"
    );
    pair.write(
        "cert.pem",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    );
    pair.write(
        "key.pem",
        "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
    );
    let found = pair.troubles();
    assert!(
        matches!(&found[0], CertTrouble::NotPem(Certificate, what) if what.contains("no. 1")),
        "{found:?}"
    );
    assert!(
        matches!(&found[1], CertTrouble::NotPem(Key, what) if what.contains("damaged")),
        "{found:?}"
    );
    // A pipe must not be waited for.
    let pipe = pair.path("pipe");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &pipe,
        rustix::fs::FileType::Fifo,
        0o600.into(),
        0,
    )
    .unwrap();
    assert!(matches!(read(&pipe, Key), Err(CertTrouble::Unreadable(..))));
}

#[test]
fn a_file_that_others_own_cannot_be_read() {
    if rustix::process::getuid().is_root() {
        return; // root reads everything
    }
    let pair = Pair::self_signed("h.example.org", &[]);
    fs::set_permissions(pair.path("key.pem"), fs::Permissions::from_mode(0o0)).unwrap();
    assert!(matches!(
        pair.troubles()[..],
        [CertTrouble::Unreadable(CertFile::Key, _)]
    ));
}

#[test]
fn a_key_of_another_certificate_and_an_open_key() {
    let pair = Pair::self_signed("h.example.org", &[]);
    pair.write(
        "key.pem",
        Pair::self_signed("h.example.org", &[]).text("key.pem"),
    );
    fs::set_permissions(pair.path("key.pem"), fs::Permissions::from_mode(0o644)).unwrap();
    assert_eq!(
        pair.troubles(),
        [CertTrouble::KeyMismatch, CertTrouble::KeyOpen(0o644)]
    );
}

#[test]
fn names_are_compared_as_browsers_do() {
    for (name, wanted, covered) in [
        ("a.org", "a.org", true),
        ("A.org", "a.ORG", true),
        ("*.a.org", "b.a.org", true),
        ("*.a.org", "a.org", false),
        ("*.a.org", "c.b.a.org", false),
        ("*.a.org", ".a.org", false),
        ("*.a.org", "*.a.org", true),
        ("*.org", "*.a.org", false),
        ("*.0.0.1", "127.0.0.1", false),
        ("b*.a.org", "bc.a.org", false),
    ] {
        assert_eq!(covers(name, wanted), covered, "{name} {wanted}");
    }
    let pair = Pair::self_signed("*.h.example.org", &[]);
    let found = pair.inspect_for("h.example.org", true, Timestamp::now());
    assert_eq!(
        troubles(&found),
        [CertTrouble::NamesMissing(vec!["h.example.org".into()])]
    );
    let pair = Pair::self_signed("h.example.org", &[]);
    let found = pair.inspect_for("h.example.org", true, Timestamp::now());
    assert_eq!(
        troubles(&found),
        [CertTrouble::NamesMissing(vec!["*.h.example.org".into()])]
    );
}

#[test]
fn a_life_has_a_beginning_and_an_end() {
    let pair = Pair::self_signed("h.example.org", &[]);
    let now = Timestamp::now();
    let after = |days: i64| {
        let found = pair.inspect_for(
            "h.example.org",
            false,
            now + SignedDuration::from_hours(days * 24),
        );
        troubles(&found).first().cloned()
    };
    assert_eq!(after(0), None);
    assert_eq!(after(68), None);
    assert!(matches!(after(70), Some(CertTrouble::ExpiresSoon(_))));
    assert!(matches!(after(91), Some(CertTrouble::Expired(_))));
    assert!(matches!(after(-1), Some(CertTrouble::NotYetValid(_))));
    let fault = pair
        .inspect_for(
            "h.example.org",
            false,
            now + SignedDuration::from_hours(87 * 24),
        )
        .problems[0]
        .fault();
    assert_eq!(
        fault.title,
        "h.example.org: the certificate expires in 2 days"
    );
    assert!(fault.next.contains(&"ooy init --self-signed".to_owned()));
    // A certificate of six days is not complained of on its first.
    let (short, _) = self_signed("h.example.org", &[], 6).unwrap();
    pair.write("cert.pem", short);
    assert!(
        !pair
            .troubles()
            .iter()
            .any(|t| matches!(t, CertTrouble::ExpiresSoon(_)))
    );
}

#[test]
fn keys_of_every_kind_that_openssl_makes() {
    let pair = Pair::new();
    for make in [
        "genrsa -out key.pem 2048",
        "genrsa -traditional -out key.pem 2048",
        "genpkey -algorithm RSA-PSS -pkeyopt rsa_keygen_bits:2048 -out key.pem",
        "ecparam -name prime256v1 -genkey -out key.pem",
        "ecparam -name prime256v1 -genkey -noout -out key.pem",
        "ecparam -name secp384r1 -genkey -out key.pem",
        "ecparam -name prime256v1 -genkey -conv_form compressed -out key.pem",
        "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out key.pem",
        "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-384 -out key.pem",
        "genpkey -algorithm ED25519 -out key.pem",
    ] {
        if !pair.openssl(make) {
            return; // no openssl here
        }
        pair.openssl(REQUEST);
        let found = pair.inspect();
        assert_eq!(found.problems, [], "{make}");
        let key = pair.text("key.pem");
        // The same kind of key again: another key.
        pair.openssl(make);
        assert_eq!(pair.troubles(), [CertTrouble::KeyMismatch], "{make}");
        // With text before it, and Windows' line ends.
        pair.write("key.pem", format!("my key\n{key}").replace('\n', "\r\n"));
        assert_eq!(pair.troubles(), [], "{make}");
    }
}

#[test]
fn keys_that_cannot_be_used_or_compared() {
    let pair = Pair::new();
    if !pair.openssl("genrsa -out key.pem 2048") {
        return; // no openssl here
    }
    pair.openssl(REQUEST);
    for protect in [
        "pkcs8 -topk8 -in key.pem -out locked.pem -passout pass:hemmelig",
        "rsa -traditional -aes256 -in key.pem -out locked.pem -passout pass:hemmelig",
    ] {
        pair.openssl(protect);
        let plain = pair.text("key.pem");
        pair.write("key.pem", pair.text("locked.pem"));
        assert_eq!(pair.troubles(), [CertTrouble::KeyEncrypted], "{protect}");
        pair.write("key.pem", plain);
    }
    pair.openssl("rsa -in key.pem -outform der -out key.der");
    pair.write("key.pem", fs::read(pair.path("key.der")).unwrap());
    assert!(
        matches!(&pair.troubles()[..], [CertTrouble::NotPem(CertFile::Key, what)] if what.contains("DER"))
    );
    pair.openssl("ecparam -name prime256v1 -genkey -noout -out key.pem");
    pair.openssl(REQUEST);
    pair.openssl("ec -in key.pem -no_public -out key.pem");
    assert!(
        matches!(&pair.troubles()[..], [CertTrouble::KeyNotCompared(_)]),
        "{:?}",
        pair.troubles()
    );
    pair.openssl("genpkey -algorithm ED448 -out key.pem");
    pair.openssl(REQUEST);
    assert!(matches!(
        &pair.troubles()[..],
        [CertTrouble::KeyNotCompared(_)]
    ));
}

#[test]
fn chains_in_the_right_and_the_wrong_order() {
    let pair = Pair::new();
    if !pair.openssl("ecparam -name prime256v1 -genkey -noout -out ca.key") {
        return; // no openssl here
    }
    pair.openssl("req -x509 -new -key ca.key -out ca.pem -days 900 -subj /CN=authority");
    pair.openssl("ecparam -name prime256v1 -genkey -noout -out key.pem");
    pair.openssl("req -new -key key.pem -out leaf.csr -subj /CN=h.example.org");
    pair.write(
        "ext",
        "subjectAltName=DNS:h.example.org\nauthorityInfoAccess=caIssuers;URI:http://ca.example.org/ca.der\n",
    );
    pair.openssl("x509 -req -in leaf.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 90 -extfile ext -out leaf.pem");
    let (leaf, authority) = (pair.text("leaf.pem"), pair.text("ca.pem"));
    pair.write("cert.pem", format!("{leaf}{authority}"));
    let found = pair.inspect();
    assert_eq!(found.problems, []);
    let info = found.info.unwrap();
    assert_eq!((info.chain_length, info.self_signed), (2, false));
    assert_eq!(info.issuer, "CN=authority");
    pair.write("cert.pem", format!("{authority}{leaf}"));
    let found = pair.inspect();
    assert_eq!(troubles(&found), [CertTrouble::LeafNotFirst(2)]);
    assert_eq!(found.info.unwrap().names, ["h.example.org"]);
    pair.write("cert.pem", format!("{leaf}{leaf}{authority}"));
    assert_eq!(pair.troubles(), [CertTrouble::ChainBroken(2)]);
    pair.write("cert.pem", &leaf);
    assert_eq!(
        pair.troubles(),
        [CertTrouble::ChainIncomplete("CN=authority".into())]
    );
    // A certificate without any alternative name covers nothing, whatever its common name says.
    pair.openssl(
        "x509 -req -in leaf.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 90 -out cert.pem",
    );
    assert_eq!(
        pair.troubles(),
        [CertTrouble::NamesMissing(vec!["h.example.org".into()])]
    );
}
