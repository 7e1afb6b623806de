/**
 * The fuzzer of the sheepdog port:
 *
 *   npm run fuzz -- --seconds 3600              against a cluster of three that it starts
 *   npm run fuzz -- --seed 17 --first 200 --count 6 --connections 1    some streams of a seed again
 *
 * Options: --seconds N (60), --seed N (from the clock), --first N, --count N, --connections N (6).
 * Prints a table of what was sent and how it was answered. Exit 1 on a violation, or when an opcode was never sent.
 */
import { parseArgs } from 'node:util';
import { operationOf } from '../../src/wire/sheepdog.js';
import { runCampaign } from './campaign.js';

/** A run this long meets every opcode. */
const COVERAGE_FROM_S = 20;

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '60' },
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
    first: { type: 'string' },
    count: { type: 'string' },
    connections: { type: 'string', default: '6' },
  },
});

const print = (line: string): void => void process.stdout.write(`${line}\n`);
const seconds = Number(values.seconds);
const { failure, coverage } = await runCampaign({
  seconds,
  seed: Number(values.seed),
  connections: Number(values.connections),
  ...(values.first !== undefined && { first: Number(values.first) }),
  ...(values.count !== undefined && { count: Number(values.count) }),
  print,
});

const named = Array.from({ length: 256 }, (_, opcode) => opcode).filter((opcode) => operationOf(opcode));
const { neverSent, neverAnswered } = coverage.gaps(named);
const isGap =
  values.count === undefined && seconds >= COVERAGE_FROM_S && neverSent.length + neverAnswered.length > 0;
if (isGap) print(`never sent: ${neverSent.join(' ')}; never answered: ${neverAnswered.join(' ')}`);
print(failure === undefined && !isGap ? 'good' : 'FAILED');
process.exit(failure === undefined && !isGap ? 0 : 1);
