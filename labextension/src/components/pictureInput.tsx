import * as React from 'react';
import { MOST_BYTES, pictureTrouble } from '../forms/tryoutFields';
import * as format from '../ui/format';
import { Button, ErrorMessage } from './primitives';
import { usePanel } from './panelContext';

interface IProps {
  /** The name of the input. */
  readonly name: string;
  readonly file: File | null;
  readonly onFile: (file: File | null) => void;
}

/** Takes a picture that is chosen, dropped or pasted, and shows it. */
export function PictureInput({ name, file, onFile }: IProps): JSX.Element {
  const { trans } = usePanel();
  const id = React.useId();
  const picker = React.useRef<HTMLInputElement>(null);
  const [over, setOver] = React.useState(false);
  const [trouble, setTrouble] = React.useState('');
  const url = useObjectURL(file);

  const take = (files: FileList | null) => {
    const [first] = files ?? [];
    if (first) {
      const found = pictureTrouble(trans, first);
      setTrouble(found);
      onFile(found ? null : first);
    }
  };

  return (
    <div
      className={over ? 'iw-Picture iw-mod-over' : 'iw-Picture'}
      role="group"
      aria-labelledby={id}
      onDragOver={event => {
        event.preventDefault();
        event.stopPropagation();
        setOver(true);
      }}
      onDragLeave={() => setOver(false)}
      onDrop={event => {
        event.preventDefault();
        event.stopPropagation();
        setOver(false);
        take(event.dataTransfer.files);
      }}
      onPaste={event => take(event.clipboardData.files)}
    >
      <span id={id}>
        <code>{name}</code>
      </span>
      {url && (
        <img
          src={url}
          alt={trans.__('The picture %1', file?.name ?? '')}
          onError={() => {
            setTrouble(trans.__('%1 cannot be shown: it may be no picture.', file?.name ?? ''));
          }}
        />
      )}
      <p className="iw-Text iw-mod-quiet">
        {file
          ? `${file.name}, ${format.bytes(file.size)}`
          : trans.__('Drop a picture here, paste one, or choose a file of at most %1 MiB.', MIB)}
      </p>
      <input
        ref={picker}
        className="iw-Hidden"
        type="file"
        accept="image/*"
        tabIndex={-1}
        aria-label={trans.__('Picture file for %1', name)}
        onChange={event => {
          take(event.target.files);
          // So that the same file can be chosen again, once it has changed.
          event.target.value = '';
        }}
      />
      <Button
        label={file ? trans.__('Choose another…') : trans.__('Choose a picture…')}
        onClick={() => picker.current?.click()}
      />
      <ErrorMessage text={trouble} onDismiss={() => setTrouble('')} />
    </div>
  );
}

const MIB = MOST_BYTES / 2 ** 20;

/** An address under which the page can show a file, as long as it is this one; empty for none. */
function useObjectURL(file: File | null): string {
  const [url, setURL] = React.useState('');
  React.useEffect(() => {
    if (file === null) {
      setURL('');
      return;
    }
    const made = URL.createObjectURL(file);
    setURL(made);
    return () => URL.revokeObjectURL(made);
  }, [file]);
  return url;
}
