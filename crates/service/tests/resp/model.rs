//! Random commands and a clock that the test moves, beside a model that is a map.

use crate::support::{Client, request, shared};
use epoll_connection::test_kit::Act;
use epoll_kit_testing::Random;
use std::collections::HashMap;
use std::time::Duration;

const ROUNDS: u64 = 30;
const STEPS: usize = 400;

/// The keys, their values, and the last milliseconds at which they exist.
#[derive(Default)]
struct Model {
    now: i64,
    keys: HashMap<String, (String, Option<i64>)>,
}

const NOT_A_NUMBER: &str = "-ERR value is not an integer or out of range\r\n";

impl Model {
    fn value(&self, key: &str) -> Option<&(String, Option<i64>)> {
        self.keys.get(key).filter(|(_, expires)| expires.is_none_or(|time| self.now <= time))
    }

    fn bulk(&self, key: &str) -> String {
        let value = self.value(key);
        value.map_or("$-1\r\n".into(), |(value, _)| format!("${}\r\n{value}\r\n", value.len()))
    }

    fn forget(&mut self, key: &str) -> bool {
        let is_there = self.value(key).is_some();
        self.keys.remove(key);
        is_there
    }

    fn set(&mut self, key: &str, value: &str, options: &[&str]) -> String {
        let old = self.bulk(key);
        let is_there = self.value(key).is_some();
        let has = |word| options.contains(&word);
        let is_set = !(has("NX") && is_there || has("XX") && !is_there);
        let kept = self.value(key).and_then(|(_, expires)| *expires).filter(|_| has("KEEPTTL"));
        let pair = options.iter().position(|word| ["EX", "PX"].contains(word));
        let given = pair.map(|at| {
            let number: i64 = options[at + 1].parse().expect("a number");
            self.now + number * if options[at] == "EX" { 1000 } else { 1 }
        });
        if is_set {
            self.keys.insert(key.into(), (value.into(), given.or(kept)));
        }
        if has("GET") {
            return old;
        }
        if is_set { "+OK\r\n".into() } else { "$-1\r\n".into() }
    }

    fn add(&mut self, key: &str, by: i64) -> String {
        let (before, expires) = match self.value(key) {
            Some((value, expires)) => (value.parse::<i64>(), *expires),
            None => (Ok(0), None),
        };
        let Ok(before) = before else { return NOT_A_NUMBER.into() };
        let Some(sum) = before.checked_add(by) else {
            return "-ERR increment or decrement would overflow\r\n".into();
        };
        self.keys.insert(key.into(), (sum.to_string(), expires));
        format!(":{sum}\r\n")
    }

    fn expire(&mut self, key: &str, after: i64) -> String {
        if self.value(key).is_none() {
            return ":0\r\n".into();
        }
        if after <= 0 {
            self.keys.remove(key);
        } else if let Some((_, expires)) = self.keys.get_mut(key) {
            *expires = Some(self.now + after);
        }
        ":1\r\n".into()
    }

    fn left(&self, key: &str) -> i64 {
        match self.value(key) {
            None => -2,
            Some((_, None)) => -1,
            Some((_, Some(time))) => time - self.now,
        }
    }

    fn answer(&mut self, command: &[&str]) -> String {
        match *command {
            ["GET", key] => self.bulk(key),
            ["SET", key, value, ref options @ ..] => self.set(key, value, options),
            ["INCRBY", key, by] => self.add(key, by.parse().expect("a number")),
            ["DECR", key] => self.add(key, -1),
            ["DEL", ref keys @ ..] => {
                format!(":{}\r\n", keys.iter().filter(|key| self.forget(key)).count())
            }
            ["EXISTS", ref keys @ ..] => {
                format!(":{}\r\n", keys.iter().filter(|key| self.value(key).is_some()).count())
            }
            ["PEXPIRE", key, after] => self.expire(key, after.parse().expect("a number")),
            ["EXPIRE", key, after] => {
                self.expire(key, 1000 * after.parse::<i64>().expect("a number"))
            }
            ["PTTL", key] => format!(":{}\r\n", self.left(key)),
            ["TTL", key] => {
                let left = self.left(key);
                format!(":{}\r\n", if left < 0 { left } else { (left + 500) / 1000 })
            }
            ["PERSIST", key] => {
                let expires = self.left(key) >= 0;
                if let Some(value) = self.keys.get_mut(key).filter(|_| expires) {
                    value.1 = None;
                }
                format!(":{}\r\n", u8::from(expires))
            }
            ["MGET", ref keys @ ..] => {
                let values: String = keys.iter().map(|key| self.bulk(key)).collect();
                format!("*{}\r\n{values}", keys.len())
            }
            ["MSET", ref pairs @ ..] => {
                for pair in pairs.chunks(2) {
                    self.keys.insert(pair[0].into(), (pair[1].into(), None));
                }
                "+OK\r\n".into()
            }
            ["FLUSHALL"] => {
                self.keys.clear();
                "+OK\r\n".into()
            }
            _ => unreachable!("{command:?}"),
        }
    }
}

fn pick<'a>(random: &mut Random, words: &[&'a str]) -> &'a str {
    words[usize::try_from(random.below(words.len() as u64)).expect("an index")]
}

fn command(random: &mut Random) -> Vec<&'static str> {
    const KEYS: &[&str] = &["a", "b", "c", "d", "e", "f"];
    const VALUES: &[&str] = &["", "1", "-5", "x", "9223372036854775807", "a longer value"];
    const NUMBERS: &[&str] = &["1", "2", "7", "60", "150", "1000"];
    let kind = pick(
        random,
        &[
            "GET", "GET", "SET", "SET", "SET", "INCRBY", "DECR", "DEL", "EXISTS", "PEXPIRE",
            "EXPIRE", "PTTL", "TTL", "PERSIST", "MGET", "MSET", "FLUSHALL",
        ],
    );
    let mut command = vec![kind];
    match kind {
        "FLUSHALL" if random.below(4) > 0 => return vec!["GET", "a"],
        "FLUSHALL" => {}
        "SET" => {
            command.extend([pick(random, KEYS), pick(random, VALUES)]);
            let options: [&[&str]; 3] = [&["NX", "XX"], &["GET"], &["KEEPTTL", "EX", "PX"]];
            for words in options {
                if random.below(3) == 0 {
                    let word = pick(random, words);
                    command.push(word);
                    if ["EX", "PX"].contains(&word) {
                        command.push(pick(random, NUMBERS));
                    }
                }
            }
        }
        "INCRBY" | "PEXPIRE" | "EXPIRE" => {
            command.push(pick(random, KEYS));
            command.push(pick(random, &["0", "-3", "1", "60", "150", "1000"]));
        }
        "DEL" | "EXISTS" | "MGET" => {
            for _ in 0..=random.below(3) {
                command.push(pick(random, KEYS));
            }
        }
        "MSET" => {
            for _ in 0..=random.below(2) {
                command.extend([pick(random, KEYS), pick(random, VALUES)]);
            }
        }
        _ => command.push(pick(random, KEYS)),
    }
    command
}

#[test]
fn commands_do_what_a_map_would() {
    for seed in 0..ROUNDS {
        let mut random = Random::seeded(seed);
        let mut client = Client::of(&shared(1 + u32::try_from(seed % 2).expect("a number")));
        let mut model = Model::default();
        for step in 0..STEPS {
            let commands: Vec<_> = (0..=random.below(3)).map(|_| command(&mut random)).collect();
            let expected: String = commands.iter().map(|command| model.answer(command)).collect();
            let input: Vec<u8> = commands.iter().flat_map(|command| request(command)).collect();
            let cut = usize::try_from(random.below(input.len() as u64)).expect("an index");
            client.driver.act(Act::Arrive(input[..cut].to_vec()));
            let answered = client.send(&input[cut..]);
            assert_eq!(answered, expected, "seed {seed}, step {step}: {commands:?}");
            if random.below(3) == 0 {
                let time = random.of_any_size(9);
                client.driver.pass_time(Duration::from_millis(time));
                model.now += i64::try_from(time).expect("a time");
            }
        }
        assert_everything_is_swept(&mut client, &model);
    }
}

/// Lets all times come: what is left are keys that do not expire.
#[track_caller]
fn assert_everything_is_swept(client: &mut Client, model: &Model) {
    client.driver.pass_time(Duration::from_secs(10_000));
    client.driver.pass_time(Duration::from_secs(1));
    let left = model.keys.values().filter(|(_, expires)| expires.is_none()).count();
    client.assert_answers("DBSIZE", &format!(":{left}\r\n"));
}
