"""Print the prime numbers below a bound given on the command line."""

import sys


def primes(bound: int) -> list[int]:
    sieve = bytearray([1]) * bound
    sieve[:2] = b"\0\0"
    for number in range(2, int(bound**0.5) + 1):
        if sieve[number]:
            sieve[number * number :: number] = bytes(len(range(number * number, bound, number)))
    return [number for number, flag in enumerate(sieve) if flag]


if __name__ == "__main__":
    print(*primes(int(sys.argv[1])))
