// Prints the prime numbers below the bound given on the command line.
const primes = (bound) => {
  const sieve = new Array(bound).fill(true);
  const found = [];
  for (let number = 2; number < bound; number++) {
    if (!sieve[number]) continue;
    found.push(number);
    for (let multiple = number * number; multiple < bound; multiple += number) sieve[multiple] = false;
  }
  return found;
};

console.log(primes(Number(process.argv[2] ?? 100)).join(" "));
