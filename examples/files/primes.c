#include <stdio.h>
#include <stdlib.h>

/* Prints the prime numbers below the bound given on the command line. */
int main(int argc, char **argv) {
  int bound = argc > 1 ? atoi(argv[1]) : 100;
  char *composite = calloc((size_t)bound + 1, 1);
  if (!composite) return EXIT_FAILURE;
  for (int number = 2; number < bound; ++number) {
    if (composite[number]) continue;
    printf("%d\n", number);
    for (long multiple = (long)number * number; multiple < bound; multiple += number)
      composite[multiple] = 1;
  }
  free(composite);
  return EXIT_SUCCESS;
}
