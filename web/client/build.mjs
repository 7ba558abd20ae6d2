// Builds the package: ESM and CommonJS by esbuild, declarations for both by tsc.
import { execFileSync } from 'node:child_process'
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'

const folder = dirname(fileURLToPath(import.meta.url))
const dist = join(folder, 'dist')
rmSync(dist, { recursive: true, force: true })
const tsc = join(dirname(createRequire(import.meta.url).resolve('typescript/package.json')), 'bin/tsc')
execFileSync(process.execPath, [tsc, '-p', folder], { stdio: 'inherit' })
for (const [format, ending] of [['esm', 'js'], ['cjs', 'cjs']]) {
  await build({
    entryPoints: [join(folder, 'src/index.ts')], outfile: join(dist, `index.${ending}`),
    bundle: true, format, target: 'es2022', packages: 'external', sourcemap: true, logLevel: 'warning',
  })
}
// The declarations of the CommonJS half name each other by their own endings.
for (const name of readdirSync(dist).filter((name) => name.endsWith('.d.ts'))) {
  const text = readFileSync(join(dist, name), 'utf8')
  writeFileSync(join(dist, name.replace(/\.d\.ts$/, '.d.cts')), text.replaceAll(/(from |import\()'(\.\/\w+)\.js'/g, "$1'$2.cjs'"))
}
