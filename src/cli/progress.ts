import type { ControlProgress } from '../control/api.js';
import type { Context } from './context.js';
import { formatSize } from './sizes.js';

export interface Progress {
  update(progress: ControlProgress): void;
  stop(): void;
}

const silent: Progress = { update: () => {}, stop: () => {} };

/** A bar on a terminal's standard error; nothing elsewhere, so that logs and pipes stay clean. */
export async function openProgress(context: Context, title: string): Promise<Progress> {
  if (!context.io.stderrIsTerminal || context.raw || context.json) return silent;
  // Loaded only where it is drawn: most commands start faster without it.
  const { default: cliProgress } = await import('cli-progress');
  const bar = new cliProgress.SingleBar({
    format: `${title} [{bar}] {percentage}% {text} {eta_formatted}`,
    stream: context.io.stderr as NodeJS.WriteStream,
    hideCursor: true,
    clearOnComplete: true,
    barsize: 30,
  });
  let started = false;
  return {
    update({ done, total, unit }) {
      const text =
        unit === 'bytes' ? `${formatSize(done)} of ${formatSize(total)}` : `${done}/${total} ${unit}`;
      if (!started) bar.start(total, done, { text });
      // Some learn on the way how much there is to do.
      bar.setTotal(total);
      bar.update(done, { text });
      started = true;
    },
    stop() {
      if (started) bar.stop();
    },
  };
}
