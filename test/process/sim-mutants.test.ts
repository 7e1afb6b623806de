// run: all
// deadline: 900 s
import { test } from 'uvu';
import { assertCaught } from '../sim/catch.js';
import { sheepMutants } from '../sim/sheep-mutants.js';

// A simulator is worth what it catches. Each of these builds is broken on purpose; it must be noticed within a few
// hundred seeds. Which seed notices moves with every change of the code, so none is fixed here.
for (const mutant of sheepMutants) {
  if (mutant.quick)
    test(`the simulator catches ${mutant.name} (${mutant.breaks})`, () => assertCaught(mutant));
}

test.run();
