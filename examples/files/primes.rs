use std::env;

/// The prime numbers below `bound`.
fn primes(bound: usize) -> Vec<usize> {
    let mut sieve = vec![true; bound];
    let mut found = Vec::new();
    for number in 2..bound {
        if !sieve[number] {
            continue;
        }
        found.push(number);
        for multiple in (number * number..bound).step_by(number) {
            sieve[multiple] = false;
        }
    }
    found
}

fn main() {
    let bound = env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(100);
    println!("{:?}", primes(bound));
}
