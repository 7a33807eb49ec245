from pathlib import Path

import pytest
from sqlalchemy import create_engine

from ui.settings import Oidc, SettingsError, load_settings
from ui.storage.database import prepare


def test_defaults_stay_on_this_machine() -> None:
    settings = load_settings({})
    assert settings.host == "127.0.0.1"
    assert settings.address == "127.0.0.1:50051"
    assert settings.data_dir == Path(".data").absolute()
    assert settings.database_url == f"sqlite:///{settings.data_dir / 'gallery.db'}"
    assert settings.oidc is None


@pytest.mark.parametrize("name", ["a%20b", "what?x=1", "a#b", "ü c", "100%", "feature%2Fui"])
def test_the_database_lies_in_the_data_folder_whatever_its_name(name: str, tmp_path: Path) -> None:
    folder = tmp_path / name
    folder.mkdir()
    engine = create_engine(load_settings({"TEXT2IMAGE_DATA_DIR": str(folder)}).database_url)
    prepare(engine)
    engine.dispose()
    assert [path.name for path in folder.iterdir()] == ["gallery.db"]
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("spelling", ["postgres://h/d", "postgresql://h/d"])
def test_postgresql_goes_through_psycopg_3(spelling: str) -> None:
    settings = load_settings({"TEXT2IMAGE_DATABASE_URL": spelling})
    assert settings.database_url == "postgresql+psycopg://h/d"


@pytest.mark.parametrize("value", ["0", "-1", "many", "1.5", "65"])
def test_a_wrong_number_is_refused_by_name(value: str) -> None:
    with pytest.raises(SettingsError, match="TEXT2IMAGE_UI_MAX_JOBS"):
        load_settings({"TEXT2IMAGE_UI_MAX_JOBS": value})


def test_half_a_provider_is_refused_by_what_is_missing() -> None:
    with pytest.raises(SettingsError, match="TEXT2IMAGE_OIDC_CLIENT_SECRET"):
        load_settings({"TEXT2IMAGE_OIDC_CLIENT_ID": "studio"})


def test_a_whole_provider_is_read() -> None:
    names = ("METADATA_URL", "CLIENT_ID", "CLIENT_SECRET", "REDIRECT_URI")
    settings = load_settings({f"TEXT2IMAGE_OIDC_{name}": name.lower() for name in names})
    assert settings.oidc == Oidc("metadata_url", "client_id", "client_secret", "redirect_uri")
