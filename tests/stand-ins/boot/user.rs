//! su-exec: become another user and start a command, without a process in between.

use std::os::unix::process::CommandExt;
use std::process::Command;

pub fn exec_as(user: &str, command: &[String]) -> ! {
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let entry = passwd
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>())
        .find(|fields| fields.len() >= 6 && fields[0] == user);
    let (Some(fields), [program, arguments @ ..]) = (entry, command) else {
        crate::misuse(&format!("su-exec: {user}: no such user, or no command"))
    };
    let (Ok(uid), Ok(gid)) = (fields[2].parse(), fields[3].parse()) else {
        crate::misuse("su-exec: /etc/passwd is damaged")
    };
    let problem =
        Command::new(program).args(arguments).gid(gid).uid(uid).env("HOME", fields[5]).exec();
    eprintln!("su-exec: {program}: {problem}");
    std::process::exit(127)
}
