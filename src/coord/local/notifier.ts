import { type FSWatcher, watch } from 'node:fs';

/** The seam that tells early that another process wrote. It may miss or invent: polling goes on beside it. */
export interface Notifier {
  start(onChange: () => void): { close(): void };
}

export const silentNotifier: Notifier = { start: () => ({ close: () => {} }) };

/** inotify on a folder (not below it: lease files are rewritten all the time and concern nobody). */
export function folderNotifier(absolutePath: string): Notifier {
  return {
    start(onChange) {
      let watcher: FSWatcher | undefined;
      try {
        watcher = watch(absolutePath, { persistent: false }, onChange);
        // Without inotify (too many watches on the host) polling alone does, a little later.
        watcher.on('error', () => watcher?.close());
      } catch {
        // As above.
      }
      return { close: () => watcher?.close() };
    },
  };
}
